"""From what the command line says to the settings of an experiment."""
