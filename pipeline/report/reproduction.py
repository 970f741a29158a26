"""How a run is repeated: its settings, the commands that give them again, and what it was computed with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.evaluation.stored_evaluation import WHAT_IS_TRIED, protocol_in_words
from pipeline.networks.shipped_cells import shipped_cells
from pipeline.presentation.words import shown
from pipeline.report.run_reader import Plain, RunContents, Runs
from pipeline.runs.metrics import flattened
from pipeline.runs.settings_record import BASES, IN_FABRIC, defaults, kept_settings

FABRIC = {name: f"fabric.{key}" for name, key in IN_FABRIC.items()}
"""Keys by their names in stored settings."""
NOT_COMPARED = ("genotype", "evaluate.batch_size", *(f"evaluate.{name}" for name in WHAT_IS_TRIED))


def stages(run: RunContents, others: Sequence[RunContents]) -> Iterator[Plain]:
    """How each stage is repeated: the command that gives all its result depends on, and those settings as a table."""
    for stage, title, settings in _in_order(run):
        flat = {
            FABRIC.get(key, key): value for key, value in flattened(settings).items() if not key.startswith("genotype.")
        }
        more = {key: value for key, value in _started_with(run, stage).items() if key not in flat}
        words = [f"run={run.folder}", *(_cell_argument(run) if stage == "retrain" else ())]
        words += [_override(key, value) for key, value in (flat | more).items()]
        yield {
            "name": stage,
            "title": title,
            "command": " \\\n  ".join([f"python scripts/{stage}.py", *map(shlex.quote, words)]),
            "settings": [(key, shown(key, value)) for key, value in flat.items()],
        }
    compared = (
        [f"compare=[{','.join(json.dumps(str(o.folder), ensure_ascii=False) for o in others)}]"] if others else []
    )
    yield {
        "name": "report",
        "title": "report",
        "command": shlex.join(["python", "scripts/report.py", f"run={run.folder}", *compared]),
        "settings": [],
    }


def _in_order(run: RunContents) -> Iterator[tuple[str, str, Plain]]:
    """Stages, with a title and settings, in the order they ran; evaluate as often as needed, the last protocol last."""
    for stage, settings in run.settings.items():
        if stage == "evaluate":
            for each in reversed(run.evaluations):
                title = f"{stage} by {protocol_in_words(each.settings, each.attacks[0].images)}"
                yield from ((stage, title, asked.plain) for asked in each.asked())
        else:
            yield stage, stage, settings


def _started_with(run: RunContents, stage: str) -> dict[str, Any]:
    """Which images a stage was given and where it ran, as far as its result does not say, but what is as by default."""
    kept = kept_settings(run.folder, stage) if stage in BASES else {}
    return {
        key: value for key, value in kept.items() if key.startswith(("data.", "fabric.")) and value != defaults()[key]
    }


def origins(run: RunContents) -> list[Plain]:
    """Hardware and versions, a row a stage: its seed and seconds where they are known, and the rest in words."""
    return [
        {
            "stage": stage,
            "seed": run.settings.get(stage, {}).get("seed"),
            "seconds": found.get("seconds"),
            "machine": f"{found['processor']}, {found['threads']} CPU thread{'' if found['threads'] == 1 else 's'}",
            "versions": ", ".join(
                f"{name} {value}"
                for name, value in found.items()
                if name not in ("seconds", "processor", "threads", "system", "date")
            ),
            "system": found["system"],
        }
        for stage, found in run.environments.items()
    ]


def differences(runs: Runs) -> list[Plain]:
    """Return settings of training and evaluation that are not the same in all runs that have them."""
    rows = []
    for stage in ("retrain", "evaluate"):
        flat = {label: flattened(run.settings[stage]) for label, run in runs.items() if stage in run.settings}
        for key in dict.fromkeys(key for settings in flat.values() for key in settings):
            values = [settings.get(key) for settings in flat.values()]
            if any(value != values[0] for value in values) and not key.startswith(NOT_COMPARED):
                values = [shown(key, flat[label].get(key)) if label in flat else "-" for label in runs]
                rows.append({"stage": stage, "key": key, "values": values})
    return rows


def _cell_argument(run: RunContents) -> list[str]:
    """`genotype=`, where the cell is not the folder's own."""
    if (run.folder / "genotype.json").exists() or run.network is None:
        return []
    shipped = shipped_cells().get(run.network.name)
    return [f"genotype={run.network.name if shipped and shipped.genotype == run.genotype else 'genotype.json'}"]


def _override(key: str, value: Any) -> str:
    """A stored setting in the grammar of the command line, in which JSON's scalars and lists mean themselves."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"
