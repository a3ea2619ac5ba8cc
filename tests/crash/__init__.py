"""A run that is killed, or whose disk fails, at any moment ends as an undisturbed one.

    python -m tests.crash --kills=500 --operations

`campaign` is a run of a second and what must come out equal; `person` answers what it
asks, where a person gives the labels (the preset `human`); `faults` counts what is
done to the run's folder and fails one operation; `operations` fails each in turn, in
one process; `kills` kills processes at random moments.
"""
