"""A finished run whose files are restored after each change, and the stages that read them, called in this process.

A stage may give its result, or refuse in one line and write nothing; `outcomes` says which, and nothing else may
happen. Where a change is accepted the page and its table are always made, and drawn in one case out of DRAWN.
"""

import contextlib
import itertools
import json
import sys
from collections import defaultdict
from types import MappingProxyType

import pytest
import torch

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.exit_status import REFUSED, ending
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation import evaluate as evaluation
from pipeline.evaluation import transfer as transfer_stage
from pipeline.evaluation.accuracy import accuracy_of, count_by_class
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.measuring.measure import Measurement
from pipeline.evaluation.transfer import transfer
from pipeline.export import export as export_stage
from pipeline.export.export import export, find
from pipeline.networks.genotype_reference import load_genotype
from pipeline.networks.network_files import load_network
from pipeline.presentation import style
from pipeline.report import run_reader, run_report
from pipeline.report.sweeps import sweep_report
from pipeline.runs.metrics import read_metrics
from pipeline.runs.settings_record import kept_settings
from pipeline.search import search as search_stage
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.search import search
from pipeline.studies.pareto.pareto import pareto
from pipeline.training import retrain as retrain_stage
from pipeline.training.network_trainer import Retraining
from pipeline.training.retrain import retrain
from tests.support.runs.folders import ONNX
from tests.support.scripts import TINY

DRAWN = 100  # accepted changes, of which one is drawn: a page's figures take a second
FINISHED = (
    *TINY,
    "search.selection.candidates=2",
    "search.selection.pool=3",
    "search.selection.epochs=1",
    "evaluate.images=10",
    "evaluate.attacks=[fgsm]",
    "evaluate.checks=true",
    "evaluate.sweep=[0.05]",
    "evaluate.sweep_attack=fgsm",
    "evaluate.corruptions=[contrast]",
    "evaluate.transfer_attack=fgsm",
    "pareto.bounds=[[2500,4000]]",
    "pareto.epochs=1",
    "pareto.adapt_epochs=1",
)
ACCEPTED = "accepted"
TRANSFERRED = ("probe", "_counts", "transfer_picture")
OLDER = "starting settings of an older version"  # takes of results what is there, and leaves it to stages to judge it


class Finished:
    """A run folder after every stage, and what its files are restored from."""

    def __init__(self, folder):
        self.folder = folder
        self.experiment = compose_experiment((*FINISHED, f"run={folder}"))
        self.data, self.fabric = load(self.experiment.data), make_fabric(self.experiment.fabric)
        self.genotype = search(folder, self.experiment, self.data, self.fabric)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluation, "measure", made_up)  # its attacks take half of the time
            for stage in ("retrain", "evaluate", "transfer", "export", "pareto"):
                STAGES[stage](self)
        (folder / "onnx.json").write_text(json.dumps(ONNX))
        for path in (*folder.glob("selection/*/checkpoint/*"), *folder.rglob("events.*"), *folder.glob("*.svg")):
            path.unlink()
        self._contents = {path: path.read_bytes() for path in self._paths()}
        self._stamps = self.stamps()

    def _paths(self):
        return [path for path in self.folder.rglob("*") if path.is_file() and path.name != ".lock"]

    def stamps(self):
        """What tells whether something was written: of every file its size and time."""
        return {path: _stamp(path) for path in self._paths()}

    def restore(self):
        """Every file as the stages left it."""
        now = self.stamps()
        for path in now.keys() - self._stamps.keys():
            path.unlink()
        for path in (path for path, stamp in self._stamps.items() if now.get(path) != stamp):
            path.write_bytes(self._contents[path])
            self._stamps[path] = _stamp(path)

    def text(self, name):
        """Of a file as the stages left it."""
        return self._contents[self.folder / name].decode()

    def names(self):
        """Of all JSON and JSONL files that a stage reads."""
        return [name for name in READ_BY if name.endswith(("json", "jsonl"))]

    def outcomes(self, name, content):
        """What each stage that reads a file does when it holds this content: ACCEPTED, or the line that refuses it.

        Raises AssertionError where a stage raises anything but a refusal of one line, or writes before it.
        """
        found = {}
        for stage in READ_BY[name]:
            (self.folder / name).write_bytes(content)
            before = self._stamps | {self.folder / name: _stamp(self.folder / name)}
            error = self._raised_by(stage)
            found[stage] = ACCEPTED
            if error is not None:
                status, line = ending(error, "") or (None, "")
                found[stage] = line
                assert status == REFUSED, f"{stage}: {type(error).__name__}: {error}"
                assert line.isprintable(), f"{stage}: {line!r}"
                # a search that goes on meets what its last choice left after it has worked
                assert self.stamps() == before or stage in ("unfinished search", OLDER), (
                    f"{stage}: written before {line}"
                )
            self.restore()
        return found

    def _raised_by(self, stage):
        try:
            STAGES[stage](self)
        except Exception as error:
            return error
        return None


def _stamp(path):
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def made_up(network, images, case, *, num_classes, **_):
    """An accuracy that no example speaks against, without the seconds that measuring it takes."""
    right = count_by_class(images.labels, num_classes).tolist()
    accuracy = accuracy_of(case.name, case.settings, right, len(images), 0.0)
    return Measurement(accuracy, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 8, 8))


def once(function):
    """Give what the first call found, whatever the later ones ask."""
    found = []

    def first(*arguments, **named):
        if not found:
            found.append(function(*arguments, **named))
        return found[0]

    return first


@contextlib.contextmanager
def in_little_time(run):
    """Let stages find at once that all is done: what they build first is there, and what is measured is made up.

    Figures are drawn in one case out of DRAWN, as they take a second; pages and tables always are.
    """
    bilevel = search_stage.BilevelSearch(run.experiment, run.data, run.fabric)
    trainings = {}

    def training(experiment, data, fabric, genotype):
        key = (genotype.to_json(), experiment.retrain.epochs, experiment.seed)
        if key not in trainings:
            trainings[key] = Retraining(experiment, data, fabric, genotype)
        return trainings[key]

    networks, load_anew = {}, load_network

    def loaded(folder):
        key = tuple((folder / name).read_bytes() for name in ("network.json", "network.safetensors"))
        if key not in networks:
            networks[key] = load_anew(folder)
        return networks[key]

    drawn, draw = itertools.count(1), run_report._draw

    def seldom(runs):
        return draw(runs) if next(drawn) % DRAWN == 0 else defaultdict(list)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_stage, "BilevelSearch", lambda *_: bilevel)
        patch.setattr(search_stage, "check_supernet_ranking", lambda *_: None)
        patch.setattr(retrain_stage, "Retraining", training)
        for module, names in ((evaluation, ("probe", "planned")), (transfer_stage, TRANSFERRED)):
            for name in names:
                patch.setattr(module, name, once(getattr(module, name)))
        patch.setattr(evaluation, "measure", made_up)
        patch.setattr(evaluation, "keep_examples", lambda *_, **__: None)
        for module in (run_reader, export_stage, sys.modules[__name__]):
            patch.setattr(module, "load_network", loaded)
        patch.setattr(run_report, "_draw", seldom)
        patch.setattr(sweep_report, "group_pictures", lambda *_: [])
        patch.setattr(style, "DPI", 20)
        yield


def _unfinished_search(run):
    """Goes on from the last checkpoint, and reads what the last choice has left."""
    (run.folder / "search.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_stage, "BilevelSearch", BilevelSearch)  # it is changed
        search(run.folder, run.experiment, run.data, run.fabric)


def _export(run):
    export(run.folder, run.experiment, find(run.folder, None), ("darts", "safetensors"), None)


def _evaluate(run):
    evaluate(run.folder, run.experiment, run.data, run.fabric, load_network(run.folder))


def _transfer(run):
    trained = load_network(run.folder)
    transfer(run.folder, run.experiment, run.data, run.fabric, {"run": trained, "again": trained})


def _retrain(run):
    _, genotype = load_genotype(str(run.folder))
    retrain(run.folder, run.experiment, run.data, run.fabric, name="run", genotype=genotype)


def _report(run):
    run_report.write(run.folder)
    run_report.table([run.folder])


def _overview(run):
    sweep_report.table(run.folder.parent, [run.folder])
    _report(run)


def _starting_settings(run):
    for stage in ("retrain", "evaluate"):
        kept_settings(run.folder, stage)


def _settings_of_results(run):
    (run.folder / "settings.json").unlink()
    _starting_settings(run)


STAGES = MappingProxyType(
    {
        "search": lambda run: search(run.folder, run.experiment, run.data, run.fabric),
        "unfinished search": _unfinished_search,
        "retrain": _retrain,
        "evaluate": _evaluate,
        "transfer": _transfer,
        "export": _export,
        "pareto": lambda run: pareto(run.folder, run.experiment, run.data, run.fabric),
        "report": _report,
        "overview": _overview,
        "log": lambda run: read_metrics(run.folder),
        "starting settings": _starting_settings,
        OLDER: _settings_of_results,
    }
)
READ_BY = MappingProxyType(
    {
        "search.json": ("report", "search", OLDER),
        "genotype.json": ("report", "search", "retrain"),
        "network.json": ("report", "retrain", "evaluate", "export", OLDER),
        "robustness.json": ("overview", "evaluate", "export"),
        "transfer.json": ("report", "transfer"),
        "onnx.json": ("report",),
        "pareto.json": ("report",),
        "metrics.jsonl": ("report", "log"),
        "points/000/point.json": ("pareto",),
        "settings.json": ("starting settings",),
        "pool.json": ("unfinished search",),
        "selection/000/network.json": ("unfinished search",),
        "selection/000/metrics.jsonl": ("unfinished search",),
        "network.safetensors": ("report", "evaluate", "transfer", "export"),
        "alphas.safetensors": ("report",),
        "examples.safetensors": ("report",),
    }
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run after every stage, one for all files of tests, since each change of its files is undone."""
    return Finished(tmp_path_factory.mktemp("runs") / "run")
