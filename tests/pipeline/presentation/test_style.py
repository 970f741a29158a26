"""Axes of figures."""

import pytest

from pipeline.presentation.style import make_axes, whole_numbers


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("epochs", [[1], [1, 2], [1, 2, 3], range(1, 51)])
def test_epochs_stand_at_whole_numbers_also_where_there_is_one_alone(epochs):
    _, axes = make_axes("epoch", "loss")
    whole_numbers(axes)
    axes.plot(epochs, [0.5] * len(epochs))
    ticks = axes.get_xticks()
    assert len(ticks) <= 8
    assert all(tick == round(tick) for tick in ticks)
    assert set(epochs) & set(ticks)
