"""What benchmarks/continuation_network.py trains and draws."""
