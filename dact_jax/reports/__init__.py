"""A run's folder in, words and pictures out: report, curves, figures, terminal.

It reads what a run recorded. It must not know how anything there was computed.
"""
