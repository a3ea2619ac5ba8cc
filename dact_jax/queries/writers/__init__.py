"""The forms in which a query is written, one module each.

Each takes a query and the prefix of its images, and gives the text of a file.
"""
