"""The trained networks that the checkpoints of a run hold, found without its data."""
