"""Tabular benchmarks: every cell of a part of a search space, trained and attacked, as one file."""

from pipeline.studies.tables.table import Entry, Table, load_table

__all__ = ["Entry", "Table", "load_table"]
