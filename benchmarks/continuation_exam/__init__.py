"""What benchmarks/continuation.py measures: spectra that are known, their data with noise, methods and tables."""
