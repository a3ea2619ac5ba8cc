"""compare.html: methods over seeds, from the folders of their runs.

Takes folders, gives one page, and tables to paste. Must not know how a run is made.
"""
