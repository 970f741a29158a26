"""The report: one page for a run and one for many, read from what stages left in run folders."""
