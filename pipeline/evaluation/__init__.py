"""Measuring a network: clean, attacked and corrupted accuracy, signs of gradient masking, and the figures as files."""
