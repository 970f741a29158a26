"""Learned optimizers by their architecture: what each computes of a gradient, and the passes that they share."""
