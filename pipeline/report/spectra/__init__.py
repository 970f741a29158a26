"""The page of a continued spectrum, with its figures."""
