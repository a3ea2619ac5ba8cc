"""Report, curves and figures from the folder of a run, and progress on the terminal.

Takes what a run recorded, gives text and pictures. Must not know how anything in the
record was computed.
"""
