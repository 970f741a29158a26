"""Sweeps: one command over lists of values, each job in a folder of its own."""
