"""Questions to a person, and the answers that come back, as files.

Takes a query, gives a folder in several forms, and reads answers from such forms; knows
no networks and no rounds.
"""
