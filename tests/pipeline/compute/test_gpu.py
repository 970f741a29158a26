"""What only a GPU can show; skipped without one."""

import pytest
import torch

from pipeline.compute.graphs import CapturedCall, cuda_graphs
from pipeline.errors import RunError
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


@pytest.mark.parametrize("script", ["search", "retrain"])
def test_steps_that_are_replayed_on_cuda_have_the_figures_of_plain_ones(tmp_path, script):
    rows = {}
    for graphs in ("auto", "off"):
        overrides = [*TINY, f"run={tmp_path / graphs}", "fabric.accelerator=cuda", f"fabric.graphs={graphs}"]
        status, _, err = run_script(script, *overrides, *(["genotype=DARTS_V2"] if script == "retrain" else []))
        assert status == 0, err
        rows[graphs] = read_metrics(tmp_path / graphs, script)
    first = {graphs: found[0] for graphs, found in rows.items()}  # later ones follow the signs that rounding gives
    assert first["auto"]["training_loss"] == pytest.approx(first["off"]["training_loss"], rel=1e-4)
    if script == "search":
        assert first["auto"]["objectives"] == pytest.approx(first["off"]["objectives"], rel=1e-4)


def test_a_graph_on_cuda_draws_the_numbers_and_reads_the_weights_of_plain_calls():
    weight = torch.ones(4, device="cuda")

    def noisy(images):
        return [weight * images + torch.empty_like(images).uniform_()]

    def drawn(call):
        torch.manual_seed(0)
        weight.fill_(1)
        found = []
        for number in range(3):
            found.append(call(torch.full((4,), float(number), device="cuda"))[0])
            weight.mul_(2)
        return torch.stack(found)

    torch.testing.assert_close(drawn(CapturedCall(noisy, cuda_graphs())), drawn(noisy), rtol=0, atol=0)


def test_what_cuda_does_not_record_is_refused_in_one_line():
    call = CapturedCall(lambda images: [images * images.sum().item()], cuda_graphs())
    with pytest.raises(RunError, match=r"fabric\.graphs=off"):
        call(torch.ones(4, device="cuda"))
