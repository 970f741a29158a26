"""The training of learned optimizers as a stage of a run."""
