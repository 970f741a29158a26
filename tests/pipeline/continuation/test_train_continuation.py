"""The stage that trains a network for continuation, through its script: files, resuming and refusals."""

import io
import json
from contextlib import redirect_stdout

import pytest

from analytic_continuation.unrolled.model_files import load_model
from pipeline.runs.metrics import read_metrics
from tests.support.forks import killed_until_done
from tests.support.scripts import TINY_CONTINUATION, finish_script


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder after a training."""
    folder = tmp_path_factory.mktemp("runs") / "continuation"
    with redirect_stdout(io.StringIO()) as out:
        finish_script("train_continuation", *TINY_CONTINUATION, f"run={folder}")
    assert "L1 error on simulations that trained nothing" in out.getvalue()
    return folder


def test_a_training_leaves_a_model_its_card_and_its_figures(run):
    card, model = json.loads((run / "continuation.json").read_text()), load_model(run / "continuation.safetensors")
    assert card["parameters"] == model.num_parameters
    assert [row["step"] for row in card["curve"]] == [2, 4, 5]
    assert all(0 <= share <= 1 for share in card["coverage"].values())
    assert card["settings"]["continuation_training"]["channels"] == model.channels == 4
    assert [row["step"] for row in read_metrics(run, "train_continuation")] == [0, 1, 2, 3, 4]


def test_a_training_that_is_killed_at_every_renaming_ends_in_the_same_bits(run, tmp_path):
    folder = tmp_path / "killed"
    assert killed_until_done("train_continuation", *TINY_CONTINUATION, f"run={folder}") >= 4
    for name in ("continuation.safetensors", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (run / name).read_bytes()


def test_a_finished_training_is_not_run_again_and_one_of_other_settings_is_refused(run, call_script):
    before = (run / "continuation.safetensors").stat().st_mtime_ns
    status, _, err = call_script("train_continuation", *TINY_CONTINUATION, f"run={run}")
    assert (status, (run / "continuation.safetensors").stat().st_mtime_ns) == (0, before), err
    status, _, err = call_script("train_continuation", *TINY_CONTINUATION, f"run={run}", "seed=1")
    assert (status, "seed was 0, is 1" in err) == (2, True)
