"""A few real steps of a run, timed, without a folder."""
