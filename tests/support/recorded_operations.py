"""A stand-in for torch.cuda.CUDAGraph: it records PyTorch's operations, and does them again on the same tensors."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NO_WORK = {"empty", "empty_like", "new_empty", "empty_strided", "_unsafe_view"}
READS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}


class Operations(TorchDispatchMode):
    """Keeps each operation that computes, with its arguments and results. Refuses what no CUDA graph records."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name.split("::")[1]
        if name in READS or _changes_device(name, args, kwargs):
            raise RuntimeError(f"operation not permitted when stream is capturing: {function}")
        result = function(*args, **kwargs)
        is_view = any(alias and not alias.is_write for alias in (each.alias_info for each in function._schema.returns))
        if not (is_view or name in NO_WORK):
            self.kept.append((function, args, kwargs, result))
        return result

    def kernels(self):
        """Name of each operation with the shapes of its tensors, in their order."""
        return [
            (
                str(function),
                [tuple(leaf.shape) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)],
            )
            for function, args, kwargs, _ in self.kept
        ]


def _shapes(content):
    return [tuple(leaf.shape) for leaf in tree_leaves(content) if isinstance(leaf, torch.Tensor)]


def _changes_device(name, args, kwargs):
    if name == "copy_":
        return args[0].device != args[1].device
    return name == "_to_copy" and torch.device(kwargs.get("device") or args[0].device).type != args[0].device.type


class RecordedOperations:
    """A graph of operations. Their results are written where the recording had them, as a replay of CUDA does."""

    made: ClassVar = []  # in their order

    def __init__(self):
        self.operations, self.replays = Operations(), 0
        self.made.append(self)

    def warm_up(self, call):
        with torch.random.fork_rng(devices=[]):
            call()

    def record(self, call):
        with torch.random.fork_rng(devices=[]), self.operations:
            call()

    def replay(self):
        self.replays += 1
        with torch.no_grad():
            for function, args, kwargs, result in self.operations.kept:
                again = function(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old is not new:
                        old.copy_(new)
