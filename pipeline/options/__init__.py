"""What settings may name and higher rooms do: objectives, recipes, guards' rules, searchers, judges; and their code."""
