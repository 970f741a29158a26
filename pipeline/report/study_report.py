"""The page of a study, and its results in Markdown for people who read them beside the code."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.presentation.tables import markdown_table
from pipeline.presentation.words import printable
from pipeline.report.figures.studies import study_pictures
from pipeline.report.html import page, write_page
from pipeline.report.study_rows import judge_rows, lead, outcome_rows, rival_label, tiles
from pipeline.runs.files import write_atomically
from pipeline.runs.metrics import flattened
from pipeline.studies.study.study_file import StudyFile, read_study

COLUMNS = ("searcher", "cost in trainings", "seconds", "accuracy", "percentile", "regret, points")


def write(folder: Path) -> Path:
    """Write report.html and figures/*.png of the study in a run folder; return the page's path.

    Raises RunError that names the file where it is damaged.
    """
    study = read_study(folder)
    pictures = study_pictures(study)
    html = page("study.html.j2", _content(folder, study) | {"pictures": pictures})
    return write_page(folder, html, pictures)


def write_results(folder: Path, study: StudyFile, data: str) -> Path:
    """Write study_<data>.md and its pictures into a folder; return the path of the first.  data: name in file names."""
    name = f"study_{data}"
    pictures = study_pictures(study)
    for picture in pictures:
        write_atomically(folder / f"{name}-{picture.name.removeprefix('study-')}.png", picture.png)
    images = [
        f"![{picture.title}]({name}-{picture.name.removeprefix('study-')}.png)\n\n{picture.caption}"
        for picture in pictures
    ]
    where = f"{study.environment['processor']}, torch {study.environment['torch']}"
    parts = [
        f"# Searchers on the table {printable(study.table.name)}",
        f"`{printable(study.command)}`. {where}.",
        lead(study),
        results_in_markdown(study),
        *images,
    ]
    write_atomically(folder / f"{name}.md", "\n\n".join(parts) + "\n")
    return folder / f"{name}.md"


def results_in_markdown(study: StudyFile) -> str:
    """Return both tables in Markdown, each with a line on how to read it."""
    header = [*COLUMNS, f"minus {rival_label(study)}", "p"]
    rows = [list(row[:-1]) for row in outcome_rows(study)]
    return "\n\n".join(
        [
            _table(header, rows),
            f"Means over {study.seeds} seeds, with 95 % intervals by bootstrap. Minus {rival_label(study)}: points of "
            "accuracy above what it finds with the same seed at the same cost, rounded up to whole trainings; p by "
            "Wilcoxon's signed-rank test.",
            _table(["judge", "judged", "Kendall's tau", "95 % interval"], judge_rows(study)),
            "Rank correlation of each judge with the table's means; the interval is over cells.",
        ]
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown_table(list(map(printable, header)), ([*map(printable, row)] for row in rows))


def _content(folder: Path, study: StudyFile) -> dict[str, Any]:
    """Return the template's values by name, but for the pictures."""
    return {
        "label": folder.resolve().name,
        "folder": folder,
        "lead": lead(study),
        "tiles": list(tiles(study)),
        "rival": rival_label(study),
        "outcomes": list(outcome_rows(study)),
        "judges": list(judge_rows(study)),
        "seeds": study.seeds,
        "settings": [(key, str(value)) for key, value in flattened(study.settings).items()],
        "environment": [(key, str(value)) for key, value in study.environment.items()],
        "made_by": study.command,
        "command": f"python scripts/report.py {shlex.quote(f'run={folder}')}",
    }
