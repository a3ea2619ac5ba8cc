"""Several processes that do one run: how they find each other, agree and end together.

It takes flags or the environment of a cluster, and gives each process the values that
process 0 has decided or read. It must not know what a run is.
"""
