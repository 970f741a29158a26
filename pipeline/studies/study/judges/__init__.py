"""Judges of cells: those that read a table, and those that look at networks with their first weights."""
