"""The benchmark of averaged weights and smoothed labels: what its variants change, and the arithmetic of a line."""

import pytest
import strong_recipe as benchmark


@pytest.mark.parametrize(("data", "per_epoch"), [("digits", 14), ("cifar10", 59)])
def test_the_mean_spans_a_twentieth_of_the_steps_and_nothing_else_differs(data, per_epoch):
    found = {name: benchmark.composed(data, own).retrain.model_dump() for name, own in benchmark.variants(data).items()}
    neither = found.pop("neither")
    assert (neither["average_decay"], neither["label_smoothing"]) == (0, 0)
    steps = neither["epochs"] * per_epoch
    assert 1 / (1 - found["both"]["average_decay"]) == pytest.approx(steps / 20, rel=0.25)
    differing = {name: {key for key in neither if recipe[key] != neither[key]} for name, recipe in found.items()}
    both = {"average_decay", "label_smoothing"}
    expected = {"averaged weights": {"average_decay"}, "smoothed labels": {"label_smoothing"}, "both": both}
    assert differing == expected


def test_a_gain_is_by_seed():
    plain = [{"clean": 90.0, "pgd-20": robust} for robust in (60.0, 70.0)]
    better = [{"clean": 80.0, "pgd-20": robust} for robust in (63.0, 71.0)]
    assert benchmark.row("both", better, plain) == ["both", "80.0 (80.0, 80.0)", "67.0 (63.0, 71.0)", "+2.0 ± 1.0"]
    assert benchmark.row("neither", plain, plain)[-1] == "-"
