"""Read what was measured on the imaginary axis, from text, NumPy's files or HDF5, told apart by their content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.continuation.array_files import HDF5, NPY, ZIP, Array, read_hdf5, read_npy, read_npz
from pipeline.errors import RunError
from pipeline.runs.files import MEGABYTE, SHOWN_LETTERS, read_bytes

LARGEST = 100 * MEGABYTE  # bytes of a file of measurements
MOST_POINTS = 5_000  # the decomposition of a kernel with more takes minutes, and no measurement has more to say

NAMES: Mapping[str, tuple[str, ...]] = {
    "points": ("points", "im_axis"),
    "values": ("values", "im_data"),
    "errors": ("errors", "stdev"),
    "covariance": ("covariance", "cov"),
}
"""Names of arrays in .npz and HDF5 files: ours, and those of ana_cont's arguments."""


@dataclass(frozen=True)
class MeasuredFile:
    """What a file holds.  points, values, errors: [n]; errors [n, 2] where real and imaginary parts have their own.

    covariance: [n, n] or [2 n, 2 n].
    """

    points: Array
    values: Array
    errors: Array | None = None
    covariance: Array | None = None


def read_measured(path: Path, *, is_complex: bool, group: str = "") -> MeasuredFile:
    """Read points, values and errors.

    is_complex: the values are; a text then has the columns point, real part, imaginary part, error (or one for each
    part), else point, value, error.  group: of an HDF5 file.
    Raises RunError that names the file where it cannot be read, or holds something else; nothing in it is run.
    """
    content = _content(path, group)
    if isinstance(content, dict):
        return _from_names(content, path)
    return _from_columns(content, path, is_complex=is_complex)


def read_covariance(path: Path, *, group: str = "") -> Array:
    """Read a covariance: a square table, or the array of that name. Raises RunError as `read_measured` does."""
    content = _content(path, group)
    if not isinstance(content, dict):
        return content
    found = _named(content, "covariance")
    if found is None:
        raise RunError(f"{path}: expected an array covariance or cov, found {_listed(content)}")
    return found


def _content(path: Path, group: str) -> Array | dict[str, Array]:
    """Return a table, or arrays by name."""
    content = read_bytes(path, LARGEST)
    if group and not content.startswith(HDF5):
        raise RunError(f"{path}: green.group names a group of an HDF5 file, and this is none")
    try:
        if content.startswith(NPY):
            return read_npy(content)
        if content.startswith(ZIP):
            return read_npz(content, LARGEST)
        if content.startswith(HDF5):
            return read_hdf5(content, group, [name for names in NAMES.values() for name in names], LARGEST)
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    return _table(content, path)


def _table(content: bytes, path: Path) -> Array:
    """Read lines of numbers, with spaces or commas between them; what follows # is a comment."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RunError(f"{path}: expected text in UTF-8, .npy, .npz or HDF5, found none of them") from None
    rows = list(_rows(text, path))
    if not rows:
        raise RunError(f"{path} holds no numbers; expected lines of a frequency or time, values and error bars")
    return np.array(rows)


def _rows(text: str, path: Path) -> Iterator[list[float]]:
    columns = 0
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        columns = columns or len(words)
        if len(words) != columns:
            raise RunError(f"{path}: line {number} has {len(words)} columns; expected {columns}, as in those before")
        yield [_number(word, f"{path}: line {number}") for word in words]


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise RunError(f"{where}: expected a number, found {word[:SHOWN_LETTERS]!r}") from None


def _from_columns(table: Array, path: Path, *, is_complex: bool) -> MeasuredFile:
    if table.ndim != 2:
        raise RunError(f"{path}: expected a table of lines and columns, found an array {list(table.shape)}")
    _check_count(len(table), path)
    has_parts = is_complex and not np.iscomplexobj(table)  # of complex numbers a column holds both
    named = 3 if has_parts else 2
    count, most = table.shape[1], 5 if has_parts else 3
    if not named <= count <= most:
        columns = (
            "frequency, real part, imaginary part, error, or one error for each part"
            if has_parts
            else "point, value, error"
        )
        raise RunError(f"{path}: this kernel's data have the columns {columns}; found {count} columns")
    values = table[:, 1] + 1j * table[:, 2] if has_parts else table[:, 1]
    errors = _real(table[:, named:], "errors", path)
    kept = None if errors.shape[1] == 0 else errors[:, 0] if errors.shape[1] == 1 else errors
    return MeasuredFile(_real(table[:, 0], "points", path), values, kept)


def _from_names(arrays: Mapping[str, Array], path: Path) -> MeasuredFile:
    points, values = _named(arrays, "points"), _named(arrays, "values")
    if points is None or values is None:
        raise RunError(
            f"{path}: expected arrays points (or im_axis) and values (or im_data), errors (or stdev) or covariance "
            f"(or cov); found {_listed(arrays)}"
        )
    _check_count(points.size, path)
    errors = _named(arrays, "errors")
    errors = None if errors is None else _real(errors, "errors", path)
    return MeasuredFile(_real(points, "points", path), values, errors, _named(arrays, "covariance"))


def _named(arrays: Mapping[str, Array], name: str) -> Array | None:
    return next((arrays[each] for each in NAMES[name] if each in arrays), None)


def _real(array: Array, name: str, path: Path) -> Array:
    if not np.iscomplexobj(array):
        return array
    if np.any(array.imag != 0):
        raise RunError(f"{path}: {name}: expected real numbers, found imaginary parts that are not 0")
    return np.asarray(array.real)


def _check_count(count: int, path: Path) -> None:
    if count > MOST_POINTS:
        raise RunError(f"{path} has {count:,} points; expected at most {MOST_POINTS:,}, leave out or average some")


def _listed(arrays: Mapping[str, Array]) -> str:
    return ", ".join(name[:SHOWN_LETTERS] for name in sorted(arrays)[:10]) or "none"
