"""Tensors in .safetensors files, read with the same care as text."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pipeline.errors import RunError
from pipeline.runs.files import LARGEST_WEIGHTS, parse_json, read_bytes

METADATA = "__metadata__"
TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # others have no arithmetic in PyTorch
LENGTH = struct.Struct("<Q")  # of the header, which a file begins with
OF_TORCH_SAVE = (b"PK\x03\x04", b"\x80\x02")  # a zip file of pickles, and a pickle of old


@dataclass(frozen=True)
class StoredTensors:
    """The content of a .safetensors file: tensors by name, and the words of its header."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


def read_tensors(path: Path) -> StoredTensors:
    """Read a .safetensors file. Raises RunError that names the file and what is wrong with it."""
    content = read_bytes(path, LARGEST_WEIGHTS)
    try:
        header = _header(content)
        _check_types(header)
        return StoredTensors(load(content), header.get(METADATA) or {})
    except (ValueError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as safetensors: {error}") from None


def _header(content: bytes) -> dict[str, Any]:
    """Return names of tensors and their types. Raises ValueError where there is none."""
    if content.startswith(OF_TORCH_SAVE):
        raise ValueError(
            "torch.save wrote it, and to load such a file may run code; store it anew by "
            "safetensors.torch.save_file(module.state_dict(), path)"
        )
    end = LENGTH.size + LENGTH.unpack_from(content)[0] if len(content) >= LENGTH.size else len(content) + 1
    if end > len(content):
        raise ValueError("its header is longer than the file")
    header = parse_json(content[LENGTH.size : end].decode())
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _check_types(header: Mapping[str, Any]) -> None:
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if name != METADATA and kind not in TYPES:
            raise ValueError(f"expected tensors of {', '.join(TYPES)}; {name!r} has the type {kind!r}")
