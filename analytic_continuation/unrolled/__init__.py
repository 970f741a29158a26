"""A learned sequence of well-conditioned convex problems (arXiv 2107.13265)."""
