"""The report: one self-contained page, and a table for the terminal, of what run folders hold."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pipeline import figures
from pipeline.artifacts import NetworkDescription, genotype_from_plain
from pipeline.evaluate import CLEAN, Accuracy, read_accuracies
from pipeline.figures import Picture, interval, magnitude
from pipeline.run import RunError, read_json, read_metrics, write_atomically
from search_space import PUBLISHED, Genotype

LOOKED_FOR = ("genotype.json", "network.json", "robustness.json", "metrics.jsonl")
TEMPLATES = Path(__file__).with_name("templates")
PIXEL_LEVELS = 255
BUDGETS = ("eps", "step", "alpha")  # shown in 255ths where they are whole ones
NOT_COMPARED = ("genotype", "evaluate.attacks", "evaluate.batch_size")
UNLIMITED_WIDTH = 1000  # letters: a table is as wide as it needs to be, and never folded

Plain = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What a run folder holds; None or empty where the stage that writes it has not been run."""

    folder: Path
    search: Plain | None
    genotype: Genotype | None
    network: NetworkDescription | None
    robustness: Plain | None
    accuracies: Sequence[Accuracy]
    onnx: Plain | None
    alphas: Tensor | None
    search_rows: Sequence[Plain]
    retrain_rows: Sequence[Plain]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.genotype or self.network or self.accuracies or self.search_rows or self.retrain_rows)

    @property
    def name(self) -> str:
        """Of the network as it was trained; of the folder before that."""
        return self.network.name if self.network else self.folder.resolve().name

    @property
    def cost(self) -> Mapping[str, int] | None:
        """Size of the network that was measured, else trained, else derived."""
        if self.robustness:
            return dict(self.robustness["cost"])
        if self.network:
            return self.network.cost()
        return dict(self.search["derived_cost"]) if self.search else None

    @property
    def settings(self) -> dict[str, Plain]:
        """Stored settings by stage."""
        found = {
            "search": self.search and self.search["settings"],
            "retrain": self.network and self.network.training.get("settings"),
            "evaluate": self.robustness and self.robustness["settings"],
        }
        return {stage: settings for stage, settings in found.items() if settings}


Runs = Mapping[str, Run]
"""By label: the run that is reported first, then those beside it."""


def write(folder: Path, others: Sequence[Path] = ()) -> Path:
    """Write report.html and figures/*.png into a run folder; returns the page's path.

    others: run folders to set beside it. What a folder does not hold is left out. Raises RunError, before anything is
    written, when a folder holds nothing to report or a file is not what the other stages write.
    """
    runs = read_runs([folder, *others])
    pictures = _draw(runs)
    page = _render(runs, pictures)
    for picture in (picture for group in pictures.values() for picture in group):
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def table(folders: Sequence[Path]) -> str:
    """The results as text, a row a run: size, and each accuracy in % over its 95 % Wilson interval.

    Raises RunError for a folder without robustness.json.
    """
    runs = read_runs(folders)
    for run in runs.values():
        if not run.accuracies:
            raise RunError(f"{run.folder} has no robustness.json to put in a table; run evaluate.py run={run.folder}")
    attacks = _attacks(runs)
    text = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    text.add_column("run", overflow="fold", max_width=28)
    for heading in ("parameters", "MACs", *attacks):
        text.add_column(heading, justify="right", no_wrap=True)
    for label, run in runs.items():
        found = {result.attack: result for result in run.accuracies}
        cells = [_printable(label), *_sizes(run), *(_accuracy_text(found.get(attack)) for attack in attacks)]
        text.add_row(*map(Text, cells))
    file = io.StringIO()
    Console(file=file, width=UNLIMITED_WIDTH, color_system=None).print(text)
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]
    lines.append("Accuracy in % of the test images over its 95 % Wilson interval; MACs of convolutions and classifier.")
    return "\n".join(lines)


def read_runs(folders: Sequence[Path]) -> Runs:
    """Runs by label, each folder once: by name where names differ, else by folder name, else by path."""
    runs = [read_run(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    for naming in (lambda run: run.name, lambda run: run.folder.resolve().name, lambda run: str(run.folder)):
        labels = [naming(run) for run in runs]
        if len(set(labels)) == len(labels):
            break
    return dict(zip(labels, runs, strict=True))


def read_run(folder: Path) -> Run:
    """All files of a run folder that a report can use. Raises RunError when there are none or one is damaged."""
    network = _optional(folder / "network.json", _read_network)
    robustness = _optional(folder / "robustness.json", lambda path: _with_keys(path, "settings", "network", "cost"))
    genotype = _optional(folder / "genotype.json", lambda path: Genotype.from_json(path.read_text("utf-8")))
    run = Run(
        folder=folder,
        search=_optional(folder / "search.json", lambda path: _with_keys(path, "settings", "derived_cost", "bounds")),
        genotype=genotype or (genotype_from_plain(network.genotype) if network else None),
        network=network,
        robustness=robustness,
        accuracies=read_accuracies(folder) if robustness else (),
        onnx=_optional(folder / "onnx.json", read_json),
        alphas=_optional(folder / "alphas.safetensors", _read_alphas),
        search_rows=read_metrics(folder, "search"),
        retrain_rows=read_metrics(folder, "retrain"),
    )
    if run.is_empty:
        raise RunError(f"{folder} holds nothing to report; looked for {', '.join(LOOKED_FOR)}. Run search.py first")
    return run


def _optional(path: Path, read: Callable[[Path], T]) -> T | None:
    """What a file holds, None where there is none. Raises RunError that names a damaged one."""
    if not path.exists():
        return None
    try:
        return read(path)
    except RunError:
        raise
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise RunError(f"{path} is not what the stages write: {error}") from None


def _with_keys(path: Path, *keys: str) -> Plain:
    content = read_json(path)
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"expected a JSON object with {', '.join(missing)}")
    return dict(content)


def _read_network(path: Path) -> NetworkDescription:
    description = NetworkDescription.model_validate(read_json(path))
    genotype_from_plain(description.genotype)
    return description


def _read_alphas(path: Path) -> Tensor:
    """[epochs, cells, edges, operations], in the order of the epochs."""
    entries = load(path.read_bytes())
    return torch.stack([entries[name] for name in sorted(entries)])


def _draw(runs: Runs) -> dict[str, list[Picture]]:
    """The figures by section of the page; a section without data has none."""
    run = next(iter(runs.values()))
    curves = {label: other.retrain_rows for label, other in runs.items()}
    return {
        "results": list(_result_pictures(runs)),
        "cells": _cell_pictures(run.genotype) if run.genotype else [],
        "search": figures.search_pictures(run.search_rows, _convention(run)) if run.search_rows else [],
        "alphas": list(_alpha_pictures(run)),
        "retrain": figures.retrain_pictures(curves, _best_epochs(runs)) if any(curves.values()) else [],
    }


def _result_pictures(runs: Runs) -> Iterator[Picture]:
    results = {label: run.accuracies for label, run in runs.items()}
    if any(results.values()):
        yield figures.accuracy_picture(results)
        parameters = {label: run.cost["parameters"] for label, run in runs.items() if run.accuracies and run.cost}
        yield figures.size_picture(results, parameters, strongest(results))


def _cell_pictures(genotype: Genotype) -> list[Picture]:
    return [
        figures.cell_picture(cell, name)
        for name, cell in (("normal", genotype.normal), ("reduction", genotype.reduction))
    ]


def _alpha_pictures(run: Run) -> Iterator[Picture]:
    """Needs search.json, which names the operations."""
    if run.alphas is not None and run.search is not None:
        operations = run.search["settings"]["space"]["operations"]
        yield from figures.alpha_pictures(run.alphas, operations, run.genotype)


def _convention(run: Run) -> str:
    return str(run.search["settings"]["objectives"]["macs_convention"]) if run.search else "conv_linear_macs"


def _best_epochs(runs: Runs) -> dict[str, int]:
    return {label: run.network.training["best_epoch"] for label, run in runs.items() if run.network}


def strongest(results: Mapping[str, Sequence[Accuracy]]) -> str:
    """The Linf attack that all measured runs met and that leaves the least accuracy; `clean` where there is none."""
    accuracies: dict[str, list[float]] = {}
    for result in (result for run in results.values() for result in run):
        if result.settings.get("norm", "Linf") == "Linf":
            accuracies.setdefault(result.attack, []).append(result.accuracy)
    measured = sum(bool(run) for run in results.values())
    shared = {attack: sum(values) for attack, values in accuracies.items() if len(values) == measured}
    attacked = {attack: total for attack, total in shared.items() if attack != CLEAN}
    return min(attacked, key=lambda attack: attacked[attack], default=CLEAN)


def _attacks(runs: Runs) -> list[str]:
    """Every attack that a run met, in the order of the first that met it."""
    return list(dict.fromkeys(result.attack for run in runs.values() for result in run.accuracies))


def _sizes(run: Run) -> tuple[str, str]:
    cost = run.cost or {}
    return magnitude(cost["parameters"]), magnitude(cost["conv_linear_macs"])


def _accuracy_text(result: Accuracy | None) -> str:
    if result is None:
        return "-"
    return f"{100 * result.accuracy:.1f}\n{100 * result.low:.1f}-{100 * result.high:.1f}"


def _printable(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _render(runs: Runs, pictures: Mapping[str, Sequence[Picture]]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names and paths come from files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"magnitude": magnitude, "percent": _percent, "data_uri": _data_uri}
    label, run = next(iter(runs.items()))
    return environment.get_template("report.html.j2").render(
        label=label,
        run=run,
        runs=runs,
        lead=list(_lead(run)),
        tiles=list(_tiles(run)),
        bounds=list(_bounds(run)),
        notes=list(_notes(runs)),
        attacks=_attacks(runs),
        results=list(_results(runs)),
        comparisons=list(_comparisons(runs)),
        differences=_differences(runs),
        pictures=pictures,
        attack_rows=list(_attack_rows(run)),
        stages=list(_stages(run, list(runs.values())[1:])),
        settings_json=json.dumps(run.settings, indent=1, ensure_ascii=False),
        genotype_json=run.genotype.to_json() if run.genotype else "",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _data_uri(png: bytes) -> Markup:
    """Base64 has no sign that HTML reads, and escaping a megabyte takes time."""
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704 - see above


def _lead(run: Run) -> Iterator[str]:
    """What was done, a sentence a stage."""
    if run.search:
        yield _search_sentence(run.search["settings"], run.network.data if run.network else None)
    if run.network and "retrain" in run.settings:
        yield _training_sentence(run.network, run.settings["retrain"]["retrain"])
    if run.robustness and run.accuracies:
        eps = _shown("eps", run.robustness["settings"]["evaluate"]["eps"])
        images = _count(run.accuracies[0].images, "test image")
        yield f"Measured on {images}; attacks may change a pixel by ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{eps}."


def _search_sentence(settings: Plain, data: str | None) -> str:
    data = data or settings["data"]["path"] or settings["data"]["source"]
    objectives = ", ".join(_named(name) for name in settings["objectives"]["names"])
    return f"Searched on {data} for {_count(settings['search']['epochs'], 'epoch')}, balancing {objectives}."


def _training_sentence(network: NetworkDescription, recipe: Plain) -> str:
    attack = recipe["attack"]
    steps = f"-{attack['steps']}" if attack["name"] == "pgd" else ""
    under = f"under {attack['name'].upper()}{steps}" if recipe["adversarial"] else "without attacks"
    return (
        f"Trained from scratch on {network.data} {under} for {_count(recipe['epochs'], 'epoch')}, "
        f"with {network.channels} channels and {network.layers} cells."
    )


def _named(objective: str) -> str:
    return figures.OBJECTIVE_LABELS.get(objective, objective)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _tiles(run: Run) -> Iterator[tuple[str, str, str]]:
    """The figures that matter: what, how much, and what to hold beside it."""
    if run.accuracies:
        attack = strongest({run.name: run.accuracies})
        for name in dict.fromkeys((CLEAN, attack)):
            result = next(result for result in run.accuracies if result.attack == name)
            title = "clean accuracy" if name == CLEAN else f"accuracy under {name}"
            yield title, _percent(result.accuracy), f"{100 * result.low:.1f} to {100 * result.high:.1f}, 95 % interval"
    elif run.network:
        held_back = run.network.training.get("held_back_accuracy", 0.0)
        yield "held-back accuracy", _percent(held_back), "of the training set; not evaluated yet"
    if run.cost:
        where = "in the network" if run.network else "in the derived network"
        yield "parameters", magnitude(run.cost["parameters"]), f"exactly {run.cost['parameters']:,} {where}"
        yield "MACs an image", magnitude(run.cost["conv_linear_macs"]), "convolutions and classifier"


def _bounds(run: Run) -> Iterator[Plain]:
    for name, bound in (run.search or {"bounds": {}})["bounds"].items():
        sides = (bound["lower"], bound["upper"])
        yield {
            "name": _named(name),
            "value": f"{bound['value']:,}",
            "asked": interval(sides),
            "kept": bound["violation"] == 0,
        }


def _notes(runs: Runs) -> Iterator[str]:
    """What a reader must know before believing a figure."""
    run = next(iter(runs.values()))
    if run.search_rows and not run.search:
        yield "The search is not finished: its curves are what there is so far."
    if run.retrain_rows and not run.network:
        yield "Training is not finished: its curves are what there is so far."
    if run.search and run.network and run.search["derived_cost"]["parameters"] != run.network.cost()["parameters"]:
        yield (
            f"The bounds were set for the derived network of {run.search['derived_cost']['parameters']:,} parameters; "
            f"the trained one has another shape and {run.network.cost()['parameters']:,}."
        )
    for label, other in runs.items():
        if other.robustness and other.network and other.robustness["network"] != other.network.model_dump(mode="json"):
            yield f"{label}: robustness.json was measured on another network than network.json; run evaluate.py again."
        if not other.accuracies and len(runs) > 1:
            yield f"{label} has no robustness.json and is missing from the results; run evaluate.py on it."
    unlike = [row["key"] for row in _differences(runs) if row["stage"] == "evaluate"] + list(_attacks_that_differ(runs))
    if unlike:
        yield f"The runs were not evaluated alike, which may be why accuracies differ: see {', '.join(unlike)}."


def _results(runs: Runs) -> Iterator[Plain]:
    """A row a measured run; accuracies in the order of _attacks, None where one was not met."""
    for label, run in runs.items():
        if run.accuracies:
            found = {result.attack: result for result in run.accuracies}
            yield {
                "label": label,
                "run": run,
                "cost": run.cost,
                "accuracies": [found.get(attack) for attack in _attacks(runs)],
                "images": run.accuracies[0].images,
            }


def _comparisons(runs: Runs) -> Iterator[str]:
    """The first run against each other one, under the strongest attack that they share."""
    (label, run), *others = runs.items()
    for other_label, other in others if run.accuracies else ():
        if not other.accuracies:
            continue
        attack = strongest({label: run.accuracies, other_label: other.accuracies})
        mine, theirs = (next(r for r in each.accuracies if r.attack == attack) for each in (run, other))
        overlap = mine.low <= theirs.high and theirs.low <= mine.high
        how = "clean" if attack == CLEAN else f"under {attack}"
        yield (
            f"{label} against {other_label}, {how}: {100 * (mine.accuracy - theirs.accuracy):+.1f} points; "
            "the intervals "
            + ("overlap, so these images alone do not settle which is better." if overlap else "do not overlap.")
        )


def _attacks_that_differ(runs: Runs) -> Iterator[str]:
    """Attacks of the same name that were run with other settings."""
    for attack in _attacks(runs):
        found = [result.settings for run in runs.values() for result in run.accuracies if result.attack == attack]
        if any(settings != found[0] for settings in found):
            yield f"the settings of {attack}"


def _differences(runs: Runs) -> list[Plain]:
    """Settings of training and evaluation that are not the same in all runs that have them."""
    rows = []
    for stage in ("retrain", "evaluate"):
        flat = {label: dict(_flat(run.settings[stage])) for label, run in runs.items() if stage in run.settings}
        for key in dict.fromkeys(key for settings in flat.values() for key in settings):
            values = [settings.get(key) for settings in flat.values()]
            if any(value != values[0] for value in values) and not key.startswith(NOT_COMPARED):
                shown = [_shown(key, flat[label].get(key)) if label in flat else "-" for label in runs]
                rows.append({"stage": stage, "key": key, "values": shown})
    return rows


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values, as the command line names them."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(key: str, value: Any) -> str:
    """A setting for people: 0.03137254901960784 as 8/255."""
    if isinstance(value, float) and key.rpartition(".")[2] in BUDGETS:
        levels = value * PIXEL_LEVELS
        if levels and abs(levels - round(levels)) < 1e-6:
            return f"{round(levels)}/{PIXEL_LEVELS}"
    if isinstance(value, list):
        return ", ".join(_shown(key, item) for item in value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _attack_rows(run: Run) -> Iterator[Plain]:
    """Settings and effort of each attack."""
    for result in run.accuracies:
        parts = [_call(part) for part in result.settings.get("attacks", ())]
        ball = {
            key: result.settings[key]
            for key in ("norm", "eps", "restarts", "seed", "version")
            if key in result.settings
        }
        yield {
            "result": result,
            "ball": ", ".join(f"{key} {_shown(key, value)}" for key, value in ball.items()),
            "parts": list(dict.fromkeys(parts)),
        }


def _call(part: Plain) -> str:
    arguments = ", ".join(f"{key}={_shown(key, value)}" for key, value in part["arguments"].items())
    return f"{part['class']}({arguments})"


def _stages(run: Run, others: Sequence[Run]) -> Iterator[Plain]:
    """How each stage is repeated: its command, all its settings, and the command with all of them."""
    for stage, settings in run.settings.items():
        flat = [(key, value) for key, value in _flat(settings) if not key.startswith("genotype.")]
        command = [
            "python",
            f"scripts/{stage}.py",
            f"run={run.folder}",
            *(_cell_argument(run) if stage == "retrain" else ()),
        ]
        yield {
            "name": stage,
            "command": shlex.join(command),
            "full": " \\\n  ".join([shlex.join(command), *(shlex.quote(_override(*item)) for item in flat)]),
            "settings": [(key, _shown(key, value)) for key, value in flat],
        }
    compared = (
        [f"compare=[{','.join(json.dumps(str(o.folder), ensure_ascii=False) for o in others)}]"] if others else []
    )
    command = ["python", "scripts/report.py", f"run={run.folder}", *compared]
    yield {"name": "report", "command": shlex.join(command), "full": "", "settings": []}


def _cell_argument(run: Run) -> list[str]:
    """`genotype=`, where the cell is not the folder's own."""
    if (run.folder / "genotype.json").exists() or run.network is None:
        return []
    published = run.network.name in PUBLISHED and PUBLISHED[run.network.name].genotype == run.genotype
    return [f"genotype={run.network.name if published else 'genotype.json'}"]


def _override(key: str, value: Any) -> str:
    """A stored setting in the grammar of the command line, in which JSON's scalars and lists mean themselves."""
    name = "fabric.precision" if key == "precision" else key
    return f"{name}={json.dumps(value, ensure_ascii=False)}"
