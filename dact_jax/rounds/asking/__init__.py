"""A person as the oracle: what is asked, what was answered, what was corrected.

Takes the picks of a turn and a run's folder, gives labels or leaves a query there. It
must not know how the query is answered: a page, a file or a program.
"""
