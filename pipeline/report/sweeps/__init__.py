"""The report of many runs, in groups that differ in their seed alone."""
