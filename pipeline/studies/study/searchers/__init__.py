"""Searchers that read a table, what they see of it, and what it costs them."""
