"""A page in the browser on which a person answers a query.

Takes a run's folder with a query in it, gives answers in its labels.csv; knows no
networks and no configs. Whatever it shows is read from the folder: two windows, a
reload and a second start see the same.
"""
