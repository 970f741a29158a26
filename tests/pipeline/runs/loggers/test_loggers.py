"""What a stage logs comes to the logger that the settings name, and goes on where a stopped stage does."""

import importlib.util
import io
import json
import re

import pytest
from PIL import Image
from pydantic import ValidationError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.errors import RunError
from pipeline.options.loggers import LOGGERS
from pipeline.runs.loggers import log_hyperparameters
from pipeline.runs.loggers.hyperparameters import hyperparameters
from pipeline.runs.metrics import MetricLog, read_metrics
from pipeline.settings import Experiment, LoggerSettings
from tests.support.runs.fake_loggers import FakeMlflow, FakeWandb, install
from tests.support.scripts import TINY


def png(width=3, height=2):
    written = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(written, "PNG")
    return written.getvalue()


def row(step):
    return {"epoch": 0, "training_loss": 1.0 / (1 + step), "training_accuracy": 0.5, "nested": {"value": step}}


def log(folder, name, first_step=0, steps=2, *, fails=False):
    """A stage that logs two steps and a picture."""
    try:
        with MetricLog(
            folder, "retrain", first_step=first_step, logger=LoggerSettings(name=name, project="p")
        ) as found:
            for step in range(first_step, first_step + steps):
                found.write(step, row(step))
            found.show(first_step + steps - 1, {"cells/normal": png()})
            if fails:
                raise ValueError("stop")
    except ValueError:
        if not fails:
            raise


def events(folder):
    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_has_figures_and_pictures_by_their_steps_and_drops_what_is_done_again(tmp_path):
    log(tmp_path, "tensorboard", steps=4)
    log(tmp_path, "tensorboard", first_step=2)
    found = events(tmp_path / "tensorboard" / "retrain")
    assert [(each.step, each.value) for each in found.Scalars("nested/value")] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert {"epoch", "training_loss", "nested/value"} <= set(found.Tags()["scalars"])
    (picture,) = found.Images("cells/normal")
    assert (picture.step, picture.width, picture.height) == (3, 3, 2)


def test_settings_stand_beside_accuracies_in_the_table_of_tensorboard(tmp_path):
    experiment = Experiment(retrain={"epochs": 10}, seed=3)
    log_hyperparameters(tmp_path, experiment, {"clean": 0.9, "pgd-20": 0.5})
    found = events(tmp_path / "tensorboard" / "evaluate")
    assert found.Scalars("accuracy/pgd-20")[0].value == 0.5
    summary = str(found.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
    assert "retrain.epochs" in summary
    assert "retrain.layers" not in summary  # as by default


def test_hyperparameters_hold_what_a_result_depends_on_and_no_paths_of_this_machine():
    found = hyperparameters(
        Experiment(
            run="elsewhere",
            data={"source": "huggingface", "path": "/mine"},
            fabric={"threads": 2},
            evaluate={"eps": 0.1, "batch_size": 7},
        )
    )
    assert found == {"seed": 0, "data.source": "huggingface", "evaluate.eps": 0.1, "evaluate.batch_size": 7}


def test_wandb_has_a_run_for_the_stage_that_a_resumed_one_goes_on_with(tmp_path, monkeypatch):
    wandb = install(monkeypatch, FakeWandb())
    log(tmp_path / "mine", "wandb", fails=True)
    log(tmp_path / "mine", "wandb", first_step=2)
    (run,) = wandb.runs.values()
    first, second = run.begun
    assert (first["id"], second["id"]) == (None, run.id)
    assert {"project": "p", "group": "mine", "job_type": "retrain", "resume": "allow"}.items() <= first.items()
    assert [step for step, _ in run.points] == [0, 1, 1, 2, 3, 3]
    assert run.points[0][1]["nested/value"] == 0
    assert run.points[2][1] == {"cells/normal": ("image", (3, 2))}
    assert run.ends == [1, 0]
    log(tmp_path / "mine", "wandb")  # begun anew
    assert len(wandb.runs) == 2


def test_mlflow_has_a_run_for_the_stage_that_a_resumed_one_goes_on_with(tmp_path, monkeypatch):
    mlflow = install(monkeypatch, FakeMlflow())
    log(tmp_path / "mine", "mlflow", fails=True)
    log(tmp_path / "mine", "mlflow", first_step=2)
    (run,) = mlflow.runs.values()
    assert (run.name, run.tags["stage"]) == ("mine retrain", "retrain")
    assert [step for name, _, step in run.metrics if name == "nested/value"] == [0, 1, 2, 3]
    assert run.pictures == [("cells/normal/00000001.png", (3, 2)), ("cells/normal/00000003.png", (3, 2))]
    assert run.states == ["FAILED", "FINISHED"]
    log(tmp_path / "other", "mlflow")
    assert mlflow.experiments == {"p": "0"}  # found again


@pytest.mark.parametrize("package", [FakeWandb, FakeMlflow])
def test_a_server_that_cannot_be_used_is_one_line(package, tmp_path, monkeypatch):
    found = install(monkeypatch, package())
    found.fault = "no such server\nand much more"
    with pytest.raises(RunError, match=rf"^logger={found.__name__}: no such server$"):
        log(tmp_path, found.__name__)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_settings_and_accuracies_come_to_other_loggers(name, tmp_path, monkeypatch):
    wandb, mlflow = install(monkeypatch, FakeWandb()), install(monkeypatch, FakeMlflow())
    experiment = Experiment(retrain={"epochs": 10}, logger={"name": name})
    log_hyperparameters(tmp_path / "mine", experiment, {"clean": 0.9})
    if name == "wandb":
        (run,) = wandb.runs.values()
        assert run.settings == {"seed": 0, "retrain.epochs": 10}
        assert run.summary == {"accuracy/clean": 0.9}
    else:
        (run,) = mlflow.runs.values()
        assert run.params == [("seed", "0"), ("retrain.epochs", "10")]
        assert run.metrics == [("accuracy/clean", 0.9, 0)]


def test_without_a_logger_there_are_metrics_alone(tmp_path):
    log(tmp_path, "none")
    log_hyperparameters(tmp_path, Experiment(logger={"name": "none"}), {"clean": 0.9})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert len(read_metrics(tmp_path, "retrain")) == 2


def test_only_the_first_process_logs(tmp_path, monkeypatch):
    wandb = install(monkeypatch, FakeWandb())
    with MetricLog(tmp_path, "retrain", first_step=0, write=False, logger=LoggerSettings(name="wandb")) as found:
        found.write(0, row(0))
        assert not found.takes_pictures
    assert wandb.runs == {}


@pytest.mark.parametrize("name", [name for name, choice in LOGGERS.items() if choice.package])
def test_a_logger_that_is_not_installed_is_refused_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    command = re.escape(LOGGERS[name].install)
    with pytest.raises(ValidationError, match=rf"logger\.name={name} needs {name}, which is not installed: {command}"):
        LoggerSettings(name=name)


def test_a_search_shows_its_cells_after_each_epoch_and_its_folder_remembers_no_logger(
    tmp_path, call_script, monkeypatch
):
    wandb = install(monkeypatch, FakeWandb())
    folder = tmp_path / "mine"
    status, _, err = call_script("search", *TINY, "logger=wandb", "logger.project=p", f"run={folder}")
    assert status == 0, err
    (run,) = wandb.runs.values()
    shown = [(step, name) for step, figures in run.points for name in figures if name.startswith("cells/")]
    last = max(step for step, _ in run.points)
    half = (last + 1) // 2 - 1
    assert shown == [(step, f"cells/{kind}") for step in (half, last) for kind in ("normal", "reduction")]
    assert "logger" not in json.loads((folder / "settings.json").read_text())["stages"]["search"]
    assert not (folder / "tensorboard").exists()
