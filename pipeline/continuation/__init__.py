"""Spectra from measured Green's functions: files are read and continued, and the network for that is trained."""
