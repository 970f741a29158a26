"""The front door: what a person runs and calls."""
