"""What is said of faults that are somebody else's."""


def first_line(error: BaseException) -> str:
    """Return what an error says, to the end of its first line; its kind where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
