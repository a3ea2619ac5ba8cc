"""report.html: one page on a run, with nothing outside the file.

Takes the record of a run, its data and its final network, gives a page. Must not change
what any other part of the run computes.
"""
