"""Values of a parametrised test that `make test` leaves out."""

import pytest


def slowly(*values):
    """Return the values marked `slow`, one a test; a tuple holds those of several names."""
    return [
        pytest.param(*each, marks=pytest.mark.slow)
        if isinstance(each, tuple)
        else pytest.param(each, marks=pytest.mark.slow)
        for each in values
    ]
