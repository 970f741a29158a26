"""Searched cells beside random and published ones of the same size, all trained by one recipe."""
