"""Where the work runs: processes, workers, signals, seeds, and the machine."""
