"""Ways of training random thetas at equal cost, for benchmarks/population.py."""
