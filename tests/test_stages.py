"""The stages through the real scripts, on real images, as a user runs them."""

import json
import random
import signal
import time
import xml.etree.ElementTree as ET

import pytest
import torch
from conftest import TINY, run_script, script_process
from safetensors.torch import load_file

from pipeline.artifacts import load_network
from pipeline.evaluate import read_accuracies
from pipeline.run import read_metrics
from search_space import Genotype, network_cost


@pytest.fixture
def succeed(call_script):
    def call(script, *overrides):
        status, out, err = call_script(script, *TINY, *overrides)
        assert status == 0, err
        return out

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder after search, retrain, evaluate and export."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    for script in ("search", "retrain", "evaluate", "export"):
        status, _, err = run_script(script, *TINY, f"run={folder}")
        assert status == 0, err
    return folder


def test_search_leaves_a_genotype_inside_its_bounds_with_its_alphas_and_pictures(run):
    genotype = Genotype.from_json((run / "genotype.json").read_text())
    result = json.loads((run / "search.json").read_text())
    cost = network_cost(genotype, channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)
    assert result["derived_cost"]["parameters"] == cost.parameters
    assert result["derived_cost"]["conv_linear_macs"] == cost.conv_linear_macs
    alphas = load_file(run / "alphas.safetensors")
    assert sorted(alphas) == ["epoch_00001", "epoch_00002"]
    assert alphas["epoch_00002"].shape == (2, 14, 8)
    for name in ("normal", "reduction"):
        assert ET.parse(run / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_every_search_step_is_in_metrics_with_objectives_bounds_and_mgda(run):
    rows = read_metrics(run, "search")
    assert [row["step"] for row in rows] == list(range(4))
    for row in rows:
        assert set(row["objectives"]) == {"accuracy", "robustness", "parameters", "macs"}
        assert row["bounds"] == {"parameters": [2500, 4000], "macs": [None, 1e5]}
        weights = row["mgda"]["weights"]
        assert sum(weights.values()) == pytest.approx(1)
        assert min(weights.values()) >= 0
        assert row["mgda"]["norm"] >= 0
        for name in ("parameters", "macs"):
            inside = row["objectives"][name] == 0
            assert not inside or weights[name] == 0


def test_the_retrained_network_is_the_searched_cell_and_is_rebuilt_from_its_files(run):
    trained = load_network(run)
    genotype = Genotype.from_json((run / "genotype.json").read_text())
    assert trained.network.genotype == genotype
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    assert trained.description.cost()["parameters"] == parameters
    assert not trained.network.training
    rows = read_metrics(run, "retrain")
    assert [row["held_back_accuracy"] for row in rows if "held_back_accuracy" in row]


def test_evaluation_records_settings_and_wilson_intervals(run):
    results = read_accuracies(run)
    assert [result.attack for result in results] == ["clean", "fgsm", "pgd-20"]
    for result in results:
        assert result.images == 40
        assert result.accuracy == result.right / 40
        assert result.low <= result.accuracy <= result.high
    assert results[2].settings["eps"] == 0.1
    assert results[2].right <= results[0].right


def test_the_wilson_interval_is_the_published_one():
    from pipeline.evaluate import wilson_interval

    # Newcombe 1998, table I: 81 of 263 and 0 of 20
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_the_onnx_network_gives_the_logits_of_the_torch_network_for_any_batch(run):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(run / "network.onnx"), providers=["CPUExecutionProvider"])
    network = load_network(run).network
    for size in (1, 7):
        images = torch.rand(size, 1, 8, 8)
        with torch.no_grad():
            expected = network(images)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_darts_text_holds_the_genotype(run):
    namespace = {}
    exec((run / "genotype_darts.py").read_text(), namespace)  # noqa: S102 - our own file, read as its users do
    genotype = Genotype.from_json((run / "genotype.json").read_text())
    layout = {
        name: [list(pair) if isinstance(pair, tuple) else pair for pair in content]
        for name, content in namespace["genotype"]._asdict().items()
    }
    assert Genotype.from_darts(layout) == genotype


def test_a_finished_stage_is_not_run_again(run, succeed):
    before = {
        path: path.stat().st_mtime_ns for path in run.glob("*") if path.name in ("genotype.json", "network.safetensors")
    }
    succeed("search", f"run={run}")
    succeed("retrain", f"run={run}")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_run_folder_with_other_settings_is_refused(run, call_script):
    status, _, err = call_script("search", *TINY, f"run={run}", "seed=7")
    assert status == 2
    assert "seed was 0, is 7" in err


def test_weights_that_are_missing_or_truncated_are_refused(run, tmp_path, call_script):
    status, _, err = call_script("retrain", *TINY, f"run={run}", "genotype=DARTS_V2")
    assert status == 2
    assert "genotype" in err
    (run / "network.safetensors").rename(tmp_path / "weights")
    try:
        status, _, err = call_script("evaluate", *TINY, f"run={run}")
        assert (status, "network.safetensors cannot be read" in err) == (2, True)
        (run / "network.safetensors").write_bytes((tmp_path / "weights").read_bytes()[:-100])
        status, _, err = call_script("evaluate", *TINY, f"run={run}")
        assert (status, "network.safetensors cannot be read" in err) == (2, True)
    finally:
        (tmp_path / "weights").replace(run / "network.safetensors")


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, "the process ended before it could be killed"
        time.sleep(0.02)


def test_a_search_killed_anywhere_ends_in_the_same_bits(run, tmp_path, succeed):
    folder = tmp_path / "killed"
    rng = random.Random(0)  # noqa: S311 - not for secrets
    for steps in (1, 3):  # in the first epoch, and after the first checkpoint
        process = script_process("search", *TINY, f"run={folder}")
        wait_for(lambda steps=steps: len(read_metrics(folder, "search")) >= steps, process)
        time.sleep(rng.random() / 2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (folder / "search.json").exists()
    succeed("search", f"run={folder}")
    for name in ("genotype.json", "alphas.safetensors"):
        assert (folder / name).read_bytes() == (run / name).read_bytes(), name

    def rows(of):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(of, "search")]

    assert rows(folder) == rows(run)


def test_a_retraining_killed_ends_in_the_same_bits(run, tmp_path, succeed):
    folder = tmp_path / "killed"
    process = script_process("retrain", *TINY, f"run={folder}", f"genotype={run}")
    wait_for(lambda: len(read_metrics(folder, "retrain")) >= 4, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    succeed("retrain", f"run={folder}", f"genotype={run}")
    assert (folder / "network.safetensors").read_bytes() == (run / "network.safetensors").read_bytes()


@pytest.mark.parametrize(
    "overrides", [["search.order=unrolled"], ["search.order=unrolled", "search.hessian=finite_difference"]]
)
def test_an_unrolled_search_runs_to_its_end(tmp_path, succeed, overrides):
    succeed("search", f"run={tmp_path / 'run'}", "search.epochs=1", *overrides)
    assert (tmp_path / "run" / "genotype.json").exists()
