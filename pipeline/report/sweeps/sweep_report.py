"""The report of many runs: one page and one table of their groups, which leads to the page of each run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.evaluation.accuracy import CLEAN
from pipeline.presentation.tables import text_table
from pipeline.presentation.words import counted, printable
from pipeline.report import run_report
from pipeline.report.figures import group_pictures
from pipeline.report.html import page, write_page
from pipeline.report.reproduction import differences
from pipeline.report.run_reader import Plain, RunContents, Runs, attacks_of, read_run
from pipeline.report.sweeps.board import board
from pipeline.report.sweeps.group_table import accuracy_in_words, group_rows, size_in_words
from pipeline.report.sweeps.seed_groups import Group, Spread, front, groups, members, strongest_of
from pipeline.runs.progress import progress_bar


def write(folder: Path, paths: Sequence[Path]) -> Path:
    """Write the page of every run in `folder`, and over them the folder's report.html and figures/*.png.

    paths: run folders, in the folder or elsewhere; pages are written of the former alone. Raises RunError, before
    anything is written, when a file of a run is not what the other stages write.
    """
    runs = labelled(folder, paths)
    own = [run for run in runs.values() if run.folder.is_relative_to(folder)]
    with progress_bar("report", len(own)) as bar:
        for run in own:
            run_report.write(run.folder)
            bar.advance(printable(str(run.folder.relative_to(folder))))
    found = groups(runs)
    pictures = group_pictures(found, strongest_of(found)) if found else []
    html = page("overview.html.j2", _content(folder, runs, found, paths) | {"pictures": pictures})
    return write_page(folder, html, pictures)


def table(folder: Path, paths: Sequence[Path]) -> str:
    """Return the groups as text: sizes and accuracies, mean ± sample deviation over their runs."""
    found = groups(labelled(folder, paths))
    if not found:
        where = printable(str(folder))
        return f"Nothing to put in a table yet: no run in {where} has a robustness.json; run evaluate.py."
    attacks = attacks_of(members(found))
    rows = [
        [printable(row["name"]), str(len(group.runs)), *(value for value, _ in row["figures"])]
        for row, group in zip(group_rows(found, attacks), found, strict=True)
    ]
    lines = text_table(("group", "runs", "parameters", "MACs", *attacks), rows)
    lines.append("Accuracy in % of the test images; ± is the sample standard deviation over the runs.")
    return "\n".join([*lines, *_unlike(members(found))])


def labelled(folder: Path, paths: Sequence[Path]) -> Runs:
    """Runs by their path below the folder, or whole where they lie elsewhere; each folder once."""
    unique = {path.resolve(): path for path in paths}.values()
    return {str(path.relative_to(folder) if path.is_relative_to(folder) else path): read_run(path) for path in unique}


def _content(folder: Path, runs: Runs, found: Sequence[Group], paths: Sequence[Path]) -> dict[str, Any]:
    """Return the template's values by name, but for the pictures."""
    outside = [str(path) for path in paths if not path.is_relative_to(folder)]
    compared = [f"compare=[{','.join(outside)}]"] if outside else []
    attacks = attacks_of(members(found))
    measured = members(found)
    asked = list(found[0].asked) if found else []
    return {
        "label": folder.resolve().name,
        "folder": folder,
        "lead": f"{counted(len(runs), 'run')}, {len(measured)} of them measured, in {counted(len(found), 'group')}.",
        "tiles": list(_tiles(found)),
        "notes": list(_notes(runs, measured)),
        "groups": group_rows(found, attacks),
        "attacks": attacks,
        "asked": [(key, [group.asked[key] for group in found]) for key in asked],
        **board(list(_run_rows(folder, runs, found, attacks)), strongest_of(found) if found else CLEAN),
        "shared": list(found[0].shared.items()) if found else [],
        "command": shlex.join(["python", "scripts/report.py", f"run={folder}", *compared]),
    }


def _tiles(found: Sequence[Group]) -> Iterator[tuple[str, str, str]]:
    """Yield the group that is best under the strongest attack, and the smallest on the front."""
    if not found:
        return
    attack = strongest_of(found)
    marks = front(found, attack)
    best = max(found, key=lambda group: _mean(group.accuracy(attack)))
    on_front = [group for group, mark in zip(found, marks, strict=True) if mark]
    smallest = min(on_front, key=lambda group: group.mean_size("parameters"))
    accuracy = best.accuracy(attack)
    how = "clean" if attack == CLEAN else f"under {attack}"
    yield (
        f"best {how}",
        accuracy_in_words(accuracy, len(best.runs))[0],
        f"{best.name}, {counted(len(best.runs), 'run')}",
    )
    yield "smallest on the front", size_in_words(smallest.size("parameters"))[0], f"parameters: {smallest.name}"
    yield "on the front", f"{sum(marks)} of {len(found)}", "groups"


def _unlike(measured: Runs) -> Iterator[str]:
    """Yield what was not the same in the evaluations of all runs, so that a difference of two may come from it."""
    unlike = [row["key"] for row in differences(measured) if row["stage"] == "evaluate" and row["key"] != "seed"]
    if unlike:
        yield f"The runs were not evaluated alike, which may be why accuracies differ: see {', '.join(unlike)}."


def _notes(runs: Runs, measured: Runs) -> Iterator[str]:
    """Yield what a reader must know before believing a figure."""
    missing = [label for label in runs if label not in measured]
    if missing:
        yield f"Without robustness.json, and so in no group: {', '.join(missing)}; run evaluate.py on them."
    yield from _unlike(measured)
    doubted = [label for label, run in runs.items() if run.measured.verdict and not run.measured.verdict.believed]
    if doubted:
        yield f"The robustness of {', '.join(doubted)} is not to be believed: see the pages of these runs."


def _run_rows(folder: Path, runs: Runs, found: Sequence[Group], attacks: Sequence[str]) -> Iterator[Plain]:
    names = {label: group.name for group in found for label in group.runs}
    for label, run in runs.items():
        results = {result.attack: result for result in run.accuracies}
        yield {
            "label": label,
            "link": _link(folder, run),
            "group": names.get(label, "-"),
            "cost": run.cost,
            "accuracies": {attack: results.get(attack) for attack in attacks},
        }


def _link(folder: Path, run: RunContents) -> str:
    """Link from the folder's page to the run's, which lies below it or may not have been written."""
    target = run.folder / "report.html"
    return quote(os.path.relpath(target, folder)) if target.exists() else ""


def _mean(spread: Spread | None) -> float:
    return spread.mean if spread else 0.0
