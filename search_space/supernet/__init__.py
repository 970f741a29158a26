"""The supernet: every edge holds all operations, mixed by the relaxation of its alphas."""
