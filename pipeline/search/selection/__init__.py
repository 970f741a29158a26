"""The choice of a cell after the search: candidates, their rank in the supernet, and searches that go on from it."""
