"""Spectra from measured Green's functions: the files are read, continued, and the outcome is kept in a run folder."""
