"""Tabular benchmarks: every cell of a part of a search space, trained and attacked, as one file."""
