"""What evaluation measured beside its attacks, as the report reads it from robustness.json and transfer.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.accuracy import Accuracy
from pipeline.files import RunError
from pipeline.masking import Check, Verdict
from pipeline.stored import StoredTransfer, read_stored

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """Empty or None where it was not asked for.

    class_names, class_images: of the images that were tried.  sweep: one accuracy an attack and
    radius, rising.  corruptions: one accuracy a corruption and severity.
    """

    class_names: Sequence[str] = ()
    class_images: Sequence[int] = ()
    sweep: Sequence[Accuracy] = ()
    verdict: Verdict | None = None
    corruptions: Sequence[Accuracy] = ()

    @property
    def in_detail(self) -> bool:
        """Whether there is anything."""
        return bool(self.class_names or self.sweep or self.verdict or self.corruptions)


def measured(robustness: Plain, path: Path) -> Measured:
    """The content of a robustness.json beyond its attacks. Raises RunError that names the file when it is another."""
    try:
        classes = robustness.get("classes") or {"names": (), "images": ()}
        return Measured(
            class_names=tuple(map(str, classes["names"])),
            class_images=tuple(map(int, classes["images"])),
            sweep=tuple(Accuracy.of(row) for row in robustness.get("sweep") or ()),
            verdict=_verdict(robustness["checks"]) if robustness.get("checks") else None,
            corruptions=tuple(Accuracy.of(row) for row in robustness.get("corruptions") or ()),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is not what evaluate.py writes: {error}") from None


def _verdict(content: Plain) -> Verdict:
    checks = tuple(Check(**row) for row in content["checks"])
    return Verdict(content["believed"], content["verdict"], checks)


def read_transfer(path: Path) -> dict[str, Any]:
    """The content of a transfer.json. Raises RunError when it has not what is shown of it."""
    return read_stored(path, StoredTransfer, "evaluate")
