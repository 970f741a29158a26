"""Simulated spectra and data, and how the network is trained and its bands are calibrated on them."""
