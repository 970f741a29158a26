"""The command that ships a trained network of continuation with its card."""

import json
import sys

import pytest
import ship_continuation

from analytic_continuation.unrolled.model_files import load_model
from pipeline.errors import RunError
from tests.support.scripts import TINY_CONTINUATION, finish_script


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder after a training on the wide shapes."""
    folder = tmp_path_factory.mktemp("runs") / "wide"
    finish_script("train_continuation", *TINY_CONTINUATION, "continuation_training.shapes=wide", f"run={folder}")
    return folder


def test_model_and_card_are_written_and_nothing_is_overwritten_unasked(trained, tmp_path):
    told = ship_continuation.ship(trained, "wide", tmp_path, batches=2)
    card, model = json.loads(told.read_text()), load_model(tmp_path / "wide.safetensors")
    assert card["parameters"] == model.num_parameters
    assert "boxes" in card["trained_on"]
    assert card["command"].endswith("continuation_training.shapes=wide")
    assert card["measured_on"].startswith("80 fresh simulations")
    for share in ("coverage", "coverage_of_peak_positions", "coverage_of_peak_weights"):
        assert 0 < card[share] <= 1
    with pytest.raises(RunError, match="choose another --name, or --replace it"):
        ship_continuation.ship(trained, "wide", tmp_path, batches=2)
    assert ship_continuation.ship(trained, "wide", tmp_path, replace=True, batches=2) == told


def test_a_folder_without_a_training_ends_in_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ship_continuation.py", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        ship_continuation.main()
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n"), "continuation.json" in err) == (2, 1, True)
