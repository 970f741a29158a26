"""What only a GPU can show; skipped without one."""

import pytest
import torch

from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.runs.metrics import read_metrics
from tests.support.scripts import TINY, run_script

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_stage_runs_on_cuda(tmp_path, precision):
    overrides = [*TINY, f"run={tmp_path / 'run'}", "fabric.accelerator=cuda", f"fabric.precision={precision}"]
    for script in ("search", "retrain", "evaluate"):
        status, _, err = run_script(script, *overrides)
        assert status == 0, err
    assert read_metrics(tmp_path / "run", "search")
    assert read_robustness(tmp_path / "run" / "robustness.json")


def test_first_steps_on_cuda_have_the_objectives_of_the_cpu(tmp_path):
    rows = {}
    for accelerator in ("cpu", "cuda"):
        folder = tmp_path / accelerator
        status, _, err = run_script("search", *TINY, f"run={folder}", f"fabric.accelerator={accelerator}")
        assert status == 0, err
        rows[accelerator] = read_metrics(folder, "search")[0]
    accuracy = {name: row["objectives"]["accuracy"] for name, row in rows.items()}
    assert accuracy["cuda"] == pytest.approx(accuracy["cpu"], rel=1e-3)  # before any attack: no chaos of signs yet
