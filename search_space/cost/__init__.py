"""What networks cost: parameters and multiply-accumulates, exact and expected."""
