"""What the files in a run's folder must hold, and how damage in them is seen.

Takes paths and lines, gives trees, rows and what is wrong with them. Must not know what
a run does with them.
"""
