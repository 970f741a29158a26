"""The errors that a person can mend."""


class RunError(ValueError):
    """Raised where what is asked for does not fit what the run folder holds, or what the machine has."""
