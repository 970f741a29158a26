"""The run folder: its files, their schemas, checkpoints, metrics, and the settings that a run remembers."""
