"""Searched cells beside random and published ones, and a ResNet, of the same size, all trained by one recipe."""
