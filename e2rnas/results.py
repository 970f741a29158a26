"""What stages give back: values whose text the command line prints and a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.gradient_masking import remarks
from pipeline.presentation.notebook import TextInNotebook
from pipeline.presentation.words import counted, printable
from pipeline.studies.comparison.comparison_statistics import Agreement, CellResult, MeanDifference
from pipeline.studies.study.study_file import StudyFile


@dataclass(frozen=True)
class Accuracies(TextInNotebook):
    """Hold what an evaluation measured; iterate over `attacks`, or ask for one by its name.

    attacks: clean and under each attack.  sweep: under one attack at several radii.  corruptions: at five severities.
    verdict: on gradient masking, where it was looked for.

        >>> from pipeline.evaluation.accuracy import accuracy_of
        >>> found = Accuracies((accuracy_of("clean", {}, [30, 15], images=50, seconds=0.1),))
        >>> found["clean"].accuracy
        0.9
        >>> print(found)
                       clean   90.0%  [78.6%, 95.7%]  50 images, 0.1 s
    """

    attacks: tuple[Accuracy, ...]
    sweep: tuple[Accuracy, ...] = ()
    corruptions: tuple[Accuracy, ...] = ()
    verdict: str | None = None

    def __iter__(self) -> Iterator[Accuracy]:
        return iter(self.attacks)

    def __len__(self) -> int:
        return len(self.attacks)

    def __getitem__(self, attack: str) -> Accuracy:
        found = {row.attack: row for row in self.attacks}
        if attack not in found:
            raise ValueError(f"expected one of {', '.join(found)}, found {attack!r}: it was not measured")
        return found[attack]

    def __str__(self) -> str:
        lines = [_line(row, row.attack) for row in self.attacks]
        lines += [_line(row, f"{row.attack} eps {row.settings['eps']:.3g}") for row in self.sweep]
        lines += [_line(row, row.attack) for row in self.corruptions]
        lines += remarks((*self.attacks, *self.sweep, *self.corruptions))
        return "\n".join([*lines, *([self.verdict] if self.verdict else [])])


def _line(row: Accuracy, name: str) -> str:
    interval = f"[{row.low:.1%}, {row.high:.1%}]"
    drawn = f", {row.draws} draws ± {row.spread:.1%}" if row.draws > 1 else ""
    return f"{printable(name):>20}  {row.accuracy:6.1%}  {interval}  {row.images} images{drawn}, {row.seconds:.1f} s"


@dataclass(frozen=True)
class ExportedFiles(TextInNotebook):
    """List the files that were exported into a folder.

    files: name -> its bytes and sha256 and, of a graph, under `parity` how near it comes to the network.
    """

    folder: Path
    files: Mapping[str, Mapping[str, Any]]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return where they are."""
        return tuple(self.folder / name for name in self.files)

    def __str__(self) -> str:
        return "\n".join(
            f"{printable(str(self.folder / name))}: {entry['bytes']:,} bytes{_checked(entry.get('parity'))}"
            for name, entry in self.files.items()
        )


def _checked(parity: Mapping[str, Any] | None) -> str:
    if parity is None:
        return ""
    return (
        f"; logits of {counted(parity['images'], 'image')}, clean and under {parity['attack']}, within "
        f"{parity['largest_logit_difference']:.1e} of the network's, and the same labels"
    )


@dataclass(frozen=True)
class Comparison(TextInNotebook):
    """Hold searched cells beside random and published ones and a ResNet, all trained by one recipe.

    cells: each with its size and its accuracies, searched ones first.  attack: the strongest, under which they compare.
    searched_minus_random: difference of mean accuracies under it, in parts of one, with standard error and p value.
    agreement: of the supernets' judgement with the retrained accuracies; None of fewer than three judged cells.
    page: the table and the pictures, in Markdown.  text: what the page says.
    """

    cells: tuple[CellResult, ...]
    attack: str
    searched_minus_random: MeanDifference
    agreement: Agreement | None
    page: Path
    text: str

    def __str__(self) -> str:
        return f"{self.text}\n{printable(str(self.page))}"


@dataclass(frozen=True)
class Study(TextInNotebook):
    """Hold what searchers chose from a table and paid, and how well judges rank its cells.

    found: outcomes by searcher and budget, tests at equal cost, rank correlations, all with one value a seed.
    page: report.html in the folder.  results: the tables and the pictures, in Markdown.  text: both tables.
    """

    found: StudyFile
    page: Path
    results: Path
    text: str

    def __str__(self) -> str:
        return f"{self.text}\n{printable(str(self.page))}\n{printable(str(self.results))}"
