"""The command line: the one package that knows Hydra."""
