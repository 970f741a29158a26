"""Searches by supernets: their cells, which are trained where the table lacks them, their cost and their judgement."""
