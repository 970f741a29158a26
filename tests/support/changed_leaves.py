"""A finished run, changes of single leaves of its files, and the stages that read them, called in this process.

A stage may give its result, or refuse in one line and write nothing; `outcome` says which, and nothing else may happen.
Where a change is accepted the page and its table are always made, and drawn in one case out of DRAWN.
"""

import contextlib
import itertools
import json
import random
import sys
from collections import Counter, defaultdict
from types import MappingProxyType

import pytest

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.exit_status import REFUSED, ending
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation import evaluate as evaluation
from pipeline.evaluation import transfer as transfer_stage
from pipeline.evaluation.accuracy import accuracy_of, count_by_class
from pipeline.evaluation.evaluate import evaluate
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
from tests.support.run_folders import ONNX
from tests.support.scripts import TINY

COUNT = 1000  # changes of a test file, of which there are two
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
TWICE = "key twice: "  # before a key that the text has twice; taken out when all is text
ABSENT = object()
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
    """An accuracy, without the seconds that measuring it takes."""
    right = count_by_class(images.labels, num_classes).tolist()
    return accuracy_of(case.name, case.settings, right, len(images), 0.0)


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


def leaves(content, where=()):
    """Where every value lies, lists and objects too: the keys and indices that lead there."""
    if where:
        yield where
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, part in inner:
        yield from leaves(part, (*where, key))


CHANGES = MappingProxyType(
    {
        "removed": lambda value: ABSENT,
        "nothing": lambda value: None,
        "true": lambda value: True,
        "a word": lambda value: "x",
        "a word for a number": str,
        "no word": lambda value: "",
        "a word of control characters": lambda value: "a\x1b[2J\n\u2028b",
        "0": lambda value: 0,
        "-1": lambda value: -1,
        "10": lambda value: 10,
        "a fraction": lambda value: 0.5,
        "a whole number": lambda value: 10**15,
        "a large number": lambda value: 1e300,
        "a small number": lambda value: 5e-324,
        "a number of 5,000 digits": lambda value: 10**5000,
        "an empty list": lambda value: [],
        "an empty object": lambda value: {},
        "in a list": lambda value: [value],
        "in an object": lambda value: {"x": value},
        "ten times": lambda value: 10 * value if isinstance(value, list) else [value] * 10,
        "deep": lambda value: json.loads(200 * "[" + 200 * "]"),
        "one key more": lambda value: {**value, "unknown": 1} if isinstance(value, dict) else {"unknown": 1},
        "twice": lambda value: value,
    }
)


def changed(text, where, change, *, line):
    """The text of a file with one value changed. line: which one of a JSONL, None of a JSON."""
    sys.set_int_max_str_digits(0)
    lines = text.splitlines() if line is not None else [text]
    content = json.loads(lines[line or 0])
    holder = content
    for key in where[:-1]:
        holder = holder[key]
    key, value = where[-1], CHANGES[change](holder[where[-1]])
    if value is ABSENT:
        del holder[key]
    elif change == "twice" and isinstance(key, str):
        holder[TWICE + key] = value
    else:
        holder[key] = value
    lines[line or 0] = json.dumps(content).replace(TWICE, "")
    sys.set_int_max_str_digits(4300)
    return "\n".join(lines) + "\n"


def changes_of(run, count, seed):
    """`count` changes (file, line, where, change), of each file a part that grows with the root of its values."""
    generator, all_values = random.Random(seed), {}  # noqa: S311 - no secret
    for name in run.names():
        lines = run.text(name).splitlines() if name.endswith("l") else [run.text(name)]
        values = [
            (i if name.endswith("l") else None, where)
            for i, text in enumerate(lines)
            for where in leaves(json.loads(text))
        ]
        all_values[name] = values
    weights = {name: SHARES.get(name, 1) * len(values) ** 0.5 for name, values in all_values.items()}
    names = generator.choices(list(weights), list(weights.values()), k=count)
    for name in names:
        line, where = generator.choice(all_values[name])
        yield name, line, where, generator.choice(list(CHANGES))


SHARES = MappingProxyType(
    {
        "settings.json": 0.3,
        "robustness.json": 0.7,
        "transfer.json": 0.5,
        "pool.json": 0.05,
        "selection/000/network.json": 0.05,
        "selection/000/metrics.jsonl": 0.05,
    }
)


def check_changes(run, seed):
    """Make COUNT changes, each by itself. Raises AssertionError that lists those that no stage may answer so."""
    wrong, outcomes = [], Counter()
    with in_little_time(run):
        for name, line, where, change in changes_of(run, COUNT, seed):
            try:
                found = run.outcomes(name, changed(run.text(name), where, change, line=line).encode())
                outcomes.update(line == ACCEPTED for line in found.values())
            except AssertionError as error:
                wrong.append(f"{name} {line or ''} {'.'.join(map(str, where))} {change}: {error}")
                run.restore()
    assert not wrong, "\n".join([f"{len(wrong)} of {COUNT}:", *wrong])
    assert min(outcomes[True], outcomes[False]) > COUNT / 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run after every stage."""
    return Finished(tmp_path_factory.mktemp("runs") / "run")
