"""Turns what the command line says into the settings of an experiment."""
