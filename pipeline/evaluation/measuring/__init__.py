"""Measuring one case of an evaluation, and keeping and checking the adversarial examples that it found."""
