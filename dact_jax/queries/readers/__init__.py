"""The forms in which answers come back, one module each.

Each takes a file's text and gives its answers as they are written there; it knows
neither classes nor images.
"""
