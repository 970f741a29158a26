"""Cells as values: genotypes, their file formats, published ones, and the space that a search chooses from."""
