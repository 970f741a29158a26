"""The Pareto front of accuracy, robustness and size, found from one trained supernet."""
