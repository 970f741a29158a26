"""Derived networks whose weights are fixed, as every attack sees them, in compiled code."""
