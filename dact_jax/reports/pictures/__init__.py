"""Figures drawn from arrays, and their files.

Takes arrays and names, gives figures. Must not know of runs and their folders.
"""
