"""Arrays of numbers out of .npy, .npz and HDF5 files, without running what is in them and without trusting sizes."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NPY, ZIP, HDF5 = b"\x93NUMPY", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
"""How files of each kind begin."""

Array = NDArray[Any]
"""Of float64 or complex128."""


def read_npy(content: bytes) -> Array:
    """Read a .npy file of numbers. Raises ValueError where it holds something else, or less than it says.

    >>> file = io.BytesIO()
    >>> np.save(file, np.arange(3))
    >>> read_npy(file.getvalue())
    array([0., 1., 2.])
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(file)
    except ValueError as error:
        raise ValueError(f"not a whole .npy file: {str(error).splitlines()[0]}") from None
    _check_kind(kind)
    if math.prod(shape) * kind.itemsize > len(content) - file.tell():
        raise ValueError(f"a .npy file of shape {list(shape)} has more bytes than the {len(content):,} found")
    file.seek(0)
    return _as_numbers(np.load(file, allow_pickle=False))


def read_npz(content: bytes, largest: int) -> dict[str, Array]:
    """Read the arrays of a .npz file by name. Raises ValueError as `read_npy` does, or above `largest` bytes in all."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > largest:
                raise ValueError(f"unpacked it has {size:,} bytes; expected at most {largest:,}")
            return {entry.filename.removesuffix(".npy"): read_npy(archive.read(entry)) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"not a whole .npz file: {error}") from None


def read_hdf5(content: bytes, group: str, names: Iterable[str], largest: int) -> dict[str, Array]:
    """Read arrays of a group of an HDF5 file, as many of the names as there are; "" is the root.

    Complex numbers are h5py's, or pairs along the last axis, as TRIQS writes them.
    Raises ValueError without h5py, where there is no such group, for arrays above `largest` bytes, and for links and
    arrays that lead to other files.
    """
    try:
        import h5py
    except ImportError:
        raise ValueError("HDF5 files need h5py; pip install -e '.[hdf5]', or write .npz") from None
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            place = file[group] if group else file
            if not isinstance(place, h5py.Group):
                raise ValueError(f"green.group={group} is an array; expected the group that it lies in")
            kept = [name for name in names if place.get(name, getlink=True) is not None]
            for name in kept:
                if not isinstance(place.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name} is a link; expected an array")
            return {name: _of_hdf5(place[name], h5py.Dataset, name, largest) for name in kept}
    except KeyError:
        raise ValueError(f"this HDF5 file has no group {group}") from None
    except (OSError, RuntimeError) as error:
        raise ValueError(f"not a whole HDF5 file: {str(error).splitlines()[0]}") from None


def _of_hdf5(found: Any, dataset: Any, name: str, largest: int) -> Array:
    if not isinstance(found, dataset) or found.is_virtual or found.external:
        raise ValueError(f"{name} lies in other files, or is a group; expected an array")
    _check_kind(found.dtype)
    if found.nbytes > largest:
        raise ValueError(f"{name} has {found.nbytes:,} bytes; expected at most {largest:,}")
    array = _as_numbers(np.asarray(found[()]))
    if "__complex__" in found.attrs and array.shape[-1:] == (2,):
        return array[..., 0] + 1j * array[..., 1]
    return array


def _check_kind(kind: np.dtype[Any]) -> None:
    if kind.kind not in "iufc":
        raise ValueError(f"expected an array of numbers, found one of {kind}")


def _as_numbers(array: NDArray[Any]) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers too large for 64 bits become infinite, and are refused as such
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
