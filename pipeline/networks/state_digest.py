"""What a module holds, as one number: by it figures are tied to the weights that were measured."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

import torch
from torch import nn


def state_sha256(module: nn.Module) -> str:
    """SHA-256 of every parameter and buffer, and of the rest of the state_dict: each name, type, shape and content.

    Of a TorchScript module also the constants of its graph, which are its weights once it is frozen. By it two modules
    of one kind are told apart; what they compute from equal values is not seen. Raises whatever a user's own state_dict
    raises.
    """
    digest = hashlib.sha256()
    state = dict(module.named_parameters()) | dict(module.named_buffers()) | module.state_dict()
    state |= _graph_constants(module)
    for name, value in sorted(state.items()):
        for part in (name.encode(), *_parts(value)):
            digest.update(len(part).to_bytes(8, "big") + part)  # lengths: no two lists of parts read alike
    return digest.hexdigest()


def _graph_constants(module: nn.Module) -> dict[str, bytes]:
    """Contents of the constants in the graph of a TorchScript module, by their names in its archive."""
    if not isinstance(module, torch.jit.ScriptModule):
        return {}
    archive = io.BytesIO()
    torch.jit.save(module, archive)
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist() if "/constants/" in name}


def _parts(value: Any) -> tuple[bytes, ...]:
    """Type, shape and content of a tensor; other values of a state_dict as torch.save writes them."""
    if isinstance(value, bytes):
        return (value,)
    if isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_quantized:
        content = value.detach().cpu().resolve_conj().resolve_neg().contiguous().flatten().view(torch.uint8)
        return str(value.dtype).encode(), str(tuple(value.shape)).encode(), content.numpy().tobytes()
    written = io.BytesIO()
    torch.save(value, written)
    return (written.getvalue(),)
