"""The study: what searchers choose from a table of cells, at what cost, and what foretells a cell's accuracy."""
