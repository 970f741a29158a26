"""The stages through the real scripts, on real images, as a user runs them."""

import json
import shutil
import signal
import time
import xml.etree.ElementTree as ET

import pytest
import torch
from safetensors.torch import load_file

from e2rnas.cli.stages import demo
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.networks.network_files import load_network
from pipeline.runs.metrics import read_metrics
from search_space import Genotype, network_cost
from tests.support.at_once import AtOnce, InThisProcess
from tests.support.figures import drawing
from tests.support.forks import killed_until_done
from tests.support.scripts import TINY, finish_script, run_script, script_process
from tests.support.slowly import slowly


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
    with drawing():
        for script in ("search", "retrain", "evaluate", "export"):
            finish_script(script, *TINY, "export.formats=[darts]", f"run={folder}")
    return folder


def test_search_leaves_a_genotype_inside_its_bounds_with_its_alphas_and_pictures(run):
    genotype = Genotype.from_json((run / "genotype.json").read_text())
    result = json.loads((run / "search.json").read_text())
    cost = network_cost(genotype, channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)
    assert result["derived_cost"]["parameters"] == cost.parameters
    assert result["derived_cost"]["conv_linear_macs"] == cost.conv_linear_macs
    assert 2500 <= cost.parameters <= 4000
    assert cost.conv_linear_macs <= 1e5
    alphas = load_file(run / "alphas.safetensors")
    assert sorted(alphas) == ["epoch_00001", "epoch_00002"]
    assert alphas["epoch_00002"].shape == (2, 5, 4)
    for name in ("normal", "reduction"):
        assert ET.parse(run / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_every_search_step_is_in_metrics_with_objectives_bounds_and_mgda(run):
    rows = read_metrics(run, "search")
    assert [row["step"] for row in rows] == list(range(4))
    for row in rows:
        assert set(row["objectives"]) == {"accuracy", "robustness", "parameters", "macs"}
        assert row["bounds"] == {"parameters": [2500, 4000], "macs": [None, 1e5]}
        weights = row["balance"]["weights"]
        assert sum(weights.values()) == pytest.approx(1)
        assert min(weights.values()) >= 0
        assert row["balance"]["norm"] >= 0
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
    results = read_robustness(run / "robustness.json")[0].attacks
    assert [result.attack for result in results] == ["clean", "fgsm", "pgd-20"]
    for result in results:
        assert result.images == 40
        assert result.accuracy == result.right / 40
        assert result.low <= result.accuracy <= result.high
    assert results[2].settings["eps"] == 0.1
    assert results[2].right <= results[0].right


def test_the_wilson_interval_is_the_published_one():
    from pipeline.evaluation.accuracy import wilson_interval

    # Newcombe 1998, table I: 81 of 263 and 0 of 20
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


@pytest.mark.slow
def test_the_onnx_network_gives_the_logits_of_the_torch_network_for_any_batch(run, succeed):
    import onnxruntime

    succeed("export", f"run={run}", "export.formats=[onnx]")
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


@pytest.mark.usefixtures("drawn")
def test_a_search_killed_at_every_renaming_ends_in_the_same_bits(run, tmp_path):
    folder = tmp_path / "killed"
    assert killed_until_done("search", f"run={folder}") >= 5
    for name in ("genotype.json", "alphas.safetensors", "normal.svg"):
        assert (folder / name).read_bytes() == (run / name).read_bytes(), name
    assert read_metrics(folder, "search") == read_metrics(run, "search")
    assert not list(folder.glob("**/*.tmp"))


def test_a_retraining_killed_at_every_renaming_ends_in_the_same_bits(run, tmp_path):
    folder = tmp_path / "killed"
    assert killed_until_done("retrain", f"run={folder}", f"genotype={run}") >= 4
    assert (folder / "network.safetensors").read_bytes() == (run / "network.safetensors").read_bytes()
    assert read_metrics(folder, "retrain") == read_metrics(run, "retrain")


@pytest.mark.slow
def test_a_real_process_killed_in_its_second_epoch_ends_in_the_same_bits(run, tmp_path, succeed):
    folder = tmp_path / "killed"
    process = script_process("search", *TINY, f"run={folder}")
    while len(read_metrics(folder, "search")) < 3:
        assert process.poll() is None, "the process ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    succeed("search", f"run={folder}")
    for name in ("genotype.json", "alphas.safetensors"):
        assert (folder / name).read_bytes() == (run / name).read_bytes(), name


@pytest.mark.parametrize("objectives", ["robust", *slowly("accuracy")])
def test_a_search_without_bounds_runs_to_its_end(tmp_path, succeed, objectives):
    none = ["objectives.parameters=[null,null]", "objectives.macs=[null,null]"]
    succeed("search", f"run={tmp_path / 'run'}", "search.epochs=1", f"objectives={objectives}", *none)
    assert (tmp_path / "run" / "genotype.json").exists()


@pytest.mark.parametrize(
    "overrides",
    [["fabric.precision=bf16-mixed", "search.adversarial_fraction=0.5"], *slowly(["weight_optimizer=adamw"])],
)
def test_search_and_retraining_run_with_other_settings(tmp_path, succeed, overrides):
    folder = tmp_path / "run"
    shorter = ("search.epochs=1", "retrain.epochs=1", *overrides)
    succeed("search", f"run={folder}", *shorter)
    succeed("retrain", f"run={folder}", *shorter)
    assert (folder / "network.json").exists()


@pytest.mark.slow
def test_two_processes_search_and_retrain_and_agree(tmp_path, call_script):
    folder = tmp_path / "run"
    for script in ("search", "retrain"):
        status, _, err = run_script(script, *TINY, f"run={folder}", "fabric.devices=2")
        assert status == 0, err
    assert len(read_metrics(folder, "search")) == 4
    status, _, err = call_script("search", *TINY, f"run={folder}", "fabric.devices=1")
    assert status == 2
    assert "processes was 2, is 1" in err


def test_results_of_other_attacks_stay_when_more_are_asked_for(run, tmp_path, succeed):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    out = succeed("evaluate", f"run={folder}", "evaluate.attacks=[apgd-ce,pgd-20]")
    assert [line.split()[0] for line in out.splitlines() if "%  [" in line] == ["clean", "apgd-ce", "pgd-20"]
    assert [row.attack for row in read_robustness(folder / "robustness.json")[0].attacks] == [
        "clean",
        "fgsm",
        "pgd-20",
        "apgd-ce",
    ]


def test_a_published_cell_goes_through_all_stages_without_a_search(tmp_path, succeed):
    folder = tmp_path / "pdarts"
    succeed("retrain", f"run={folder}", "genotype=PDARTS", "retrain.parameters=3000", "retrain.epochs=1")
    succeed("evaluate", f"run={folder}", "evaluate.attacks=[fgsm]", "retrain.epochs=1")
    succeed("export", f"run={folder}", "retrain.epochs=1", "export.formats=[darts]")
    succeed("report", f"run={folder}")
    assert "sep_conv_3x3" in (folder / "genotype_darts.py").read_text()
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("beside", [False, *slowly(True)], ids=["in this process", "in processes beside"])
def test_the_demo_sets_the_searched_cell_beside_a_published_and_a_random_one(tmp_path, succeed, monkeypatch, beside):
    if not beside:
        monkeypatch.setattr(demo, "start", InThisProcess)
        monkeypatch.setattr(demo, "ThreadPoolExecutor", AtOnce)
    forms = "export.formats=[darts,svg,safetensors]"
    small = ("search.epochs=1", "search.selection.candidates=1", "search.selection.pool=null")
    shorter = ("evaluate.checks=false", "evaluate.sweep=[0.1]")  # others of the demo's are tested with evaluate.py
    out = succeed("demo", f"run={tmp_path / 'demo'}", "evaluate.images=null", *small, *shorter, forms)
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "searched" in rows
    assert "DARTS_V2" in rows
    assert "demo-random" in rows
    assert "95 % interval" in out
    assert "The time went to: search" in out
    assert "evaluate.verify=true" in out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "retrain.parameters" in page  # the one setting in which the two runs differ
    for name in ("network.safetensors", "genotype_darts.py", "normal.svg", "figures/accuracy.png"):
        assert (tmp_path / "demo" / name).stat().st_size > 0


def test_a_loss_that_overflows_stops_with_its_step_and_keeps_the_last_checkpoint(tmp_path, call_script):
    status, _, err = call_script(
        "retrain", *TINY, f"run={tmp_path / 'run'}", "genotype=PDARTS", "weight_optimizer.learning_rate=1e30"
    )
    assert status == 1
    assert err.startswith("stopped: retraining step")


@pytest.mark.parametrize(
    "overrides", [["search.order=unrolled"], *slowly(["search.order=unrolled", "search.hessian=finite_difference"])]
)
def test_an_unrolled_search_runs_to_its_end(tmp_path, succeed, overrides):
    succeed("search", f"run={tmp_path / 'run'}", "search.epochs=1", *overrides)
    assert (tmp_path / "run" / "genotype.json").exists()
