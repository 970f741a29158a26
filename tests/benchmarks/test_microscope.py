"""The record of what shipped optimizers have learned: measures of planted ones, and a run to its end."""

import sys
from types import SimpleNamespace

import microscope
import pytest

from learned_optimizers.analysis.linearisation import Mode
from learned_optimizers.theta import shipped


def planted(decay, step_size, clip, loss):
    """The analysis of an optimizer on tasks whose fastest heavy ball has decay .9 and step size 4; SGD reaches .3."""
    return SimpleNamespace(
        momentum=SimpleNamespace(leading=Mode(decay, step_size)),
        optimum=Mode(0.9 + 0j, 4.0 + 0j),
        clipping=SimpleNamespace(ratio=clip),
        visited=SimpleNamespace(relative_loss=loss),
        sgd=(1.0, 0.3),
    )


@pytest.mark.parametrize(
    ("figures", "verdicts"),
    [
        ((0.86 + 0j, 4.7 + 0j, 0.04, 0.09), ["yes", "yes", "yes", "yes"]),
        ((0.84 + 0j, 4.9 + 0j, 0.06, 0.11), ["no", "no", "no", "no"]),
        ((0.94 + 0j, 3.3 + 0j, 0.0, 0.0999), ["yes", "yes", "yes", "yes"]),
        ((0.9 + 0.06j, 4.0 + 1j, 0.0, 0.0), ["no", "no", "yes", "yes"]),
    ],
)
def test_a_measure_holds_within_its_bound_and_not_beyond(figures, verdicts):
    assert [row[-1] for row in microscope.measures(planted(*figures))] == verdicts


def test_every_shipped_optimizer_is_looked_at():
    assert set(microscope.SUBJECTS) == set(shipped())


@pytest.mark.slow
def test_the_record_of_one_optimizer_has_its_verdicts_and_pictures(tmp_path, monkeypatch):
    arguments = ["--optimizers", "gru_rosenbrock", "--tasks", "1", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["microscope.py", *arguments])
    microscope.main()
    text = (tmp_path / "microscope.md").read_text()
    for mechanism in ("momentum", "gradient clipping", "learning rate schedule", "learning rate adaptation"):
        assert f"| {mechanism} |" in text
    assert (tmp_path / "microscope-gru_rosenbrock-updates.png").read_bytes().startswith(b"\x89PNG")
