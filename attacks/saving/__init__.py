"""Attacks that pass no image through the model whose answer is known, and find the same."""
