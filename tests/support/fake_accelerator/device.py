"""A device whose tensors keep their values on the CPU, say `acc`, and are refused wherever CUDA would refuse them.

Importing this registers the device for the whole process, so that it belongs into a process of its own:

    with FakeAccelerator() as counts:
        torch.ones(2, device=DEVICE) + torch.ones(2)  # RuntimeError: acc with cpu

Refused are operations on tensors of both devices, but for scalars on the CPU, indices, and copies; and generators of
the CPU for tensors of the device. Counted are kernels, views, what waits for the device, and what is copied to it.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("acc", backend_module=_Backend())
DEVICE = torch.device("acc", 0)
aten = torch.ops.aten

ROOT = f"{Path(__file__).resolve().parents[3]}/"

MOVES = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
TAKE_SCALARS = {
    "fill_",
    "masked_fill",
    "masked_fill_",
    "index_put",
    "index_put_",
    "_index_put_impl_",
    "lift_fresh",
    "where",
}
NO_WORK = {"empty", "empty_like", "new_empty", "empty_strided", "detach", "lift_fresh", "_unsafe_view", "alias"}
WAIT = {  # whose values, or the shape of whose result, the CPU reads
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"),
    *("bincount", "is_nonzero", "repeat_interleave"),
}


@dataclass
class Counts:
    """What was done on the device.

    kernels: operations that compute or copy.  views: that only describe memory, allocations among them.
    reads: that wait for a value.  copies: from the CPU to the device.  lines: of the project that read or copied.
    """

    kernels: int = 0
    views: int = 0
    reads: int = 0
    copies: int = 0
    lines: Counter = field(default_factory=Counter)

    def reset(self):
        """Count from 0 again."""
        self.kernels = self.views = self.reads = self.copies = 0
        self.lines.clear()

    def taken(self):
        """Return what was counted so far."""
        return vars(self) | {"lines": dict(self.lines)}

    def add_read(self, times=1):
        """Count what waits for the device, with the line that asked for it."""
        self.reads += times
        self._note("reads", times)

    def add_copies(self, times=1):
        """Count copies to the device, with the line that asked for them."""
        self.copies += times
        self._note("copies", times)

    def _note(self, what, times):
        if times:
            frames = reversed(traceback.extract_stack())
            places = (f"{frame.filename[len(ROOT) :]}:{frame.lineno}" for frame in frames if _is_ours(frame.filename))
            self.lines[f"{next(places, 'elsewhere')} {what}"] += times


def _is_ours(file):
    return file.startswith(ROOT) and not file.startswith((f"{ROOT}.venv", f"{ROOT}tests/support/fake_accelerator"))


COUNTS = Counts()
"""Of this process; `FakeAccelerator` sets them to 0."""


class OnDevice(torch.Tensor):
    """A tensor of the device around one on the CPU."""

    @staticmethod
    def __new__(cls, real):
        new = torch.Tensor._make_wrapper_subclass(
            cls, real.shape, strides=real.stride(), dtype=real.dtype, device=DEVICE
        )
        new._real = real
        return new

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})

    def tolist(self):
        """Copy all values to the CPU and wait for them."""
        return self.cpu().tolist()


class FakeAccelerator(TorchDispatchMode):
    """Lets tensors be made on the device while it is entered, and counts."""

    def __enter__(self):
        super().__enter__()
        COUNTS.reset()
        return COUNTS

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


def run(function, args, kwargs):
    """Run an operation on the values themselves. Raises RuntimeError where CUDA would."""
    operation = operation_of(function)
    every = list(leaves((args, kwargs)))
    where = kwargs.get("device")
    made = where is not None and torch.device(where).type == DEVICE.type
    here = [value for value in every if isinstance(value, OnDevice)]
    if here or made:
        if any(isinstance(value, torch.Generator) for value in every):
            raise _refusal(f"{function}: expected a generator of {DEVICE}, found one of the cpu")
        if here and not operation.moves:
            _check(operation, args, every, here)
        _count(operation, args, where, made, bool(here))
    bare = each(real, kwargs) if kwargs else {}
    if where is not None:
        bare["device"] = "cpu"
    out = function(*[each(real, value) for value in args], **bare)
    if operation.written:
        found = [args[place] if place < len(args) else kwargs.get(name) for place, name in operation.written]
        return found[0] if len(found) == 1 else tuple(found)
    if made or (here and where is None):
        return each(on_device, out)
    return out


@dataclass(frozen=True)
class Operation:
    """What is read of an operation's schema, once. written: place and name of what it writes and returns."""

    function: object
    name: str
    is_view: bool
    takes_scalars: bool
    moves: bool
    is_indexed: bool
    written: tuple[tuple[int, str], ...]


@cache
def operation_of(function):
    """Read an operation's schema."""
    schema = function._schema
    name = schema.name.split("::")[1]
    returned = [result.alias_info for result in schema.returns if result.alias_info is not None]
    written = tuple(
        (place, argument.name)
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info and argument.alias_info.is_write
    )
    return Operation(
        function=function,
        name=name,
        is_view=any(not alias.is_write for alias in returned) or name in NO_WORK,
        takes_scalars=torch.Tag.pointwise in function.tags or name in TAKE_SCALARS or name.startswith("_foreach"),
        moves=function in MOVES,
        is_indexed=function in INDEXED,
        written=written if any(alias.is_write for alias in returned) else (),
    )


def _check(operation, args, every, here):
    """Raise RuntimeError for an operation that is given tensors of both devices, but for what CUDA takes."""
    on_cpu = [
        value
        for value in every
        if isinstance(value, torch.Tensor)
        and not isinstance(value, OnDevice)
        and (value.dim() or not operation.takes_scalars)
    ]
    if on_cpu and operation.is_indexed and isinstance(args[0], OnDevice):
        on_cpu = [value for value in on_cpu if not any(value is index for index in args[1])]
    if on_cpu:
        shapes = [[tuple(value.shape) for value in values] for values in (here, on_cpu)]
        raise _refusal(f"{operation.function}: {DEVICE.type} {shapes[0]} with cpu {shapes[1]}")


def _refusal(reason):
    """Return the error; in a backward pass, where PyTorch 2.13 ends the process for it, its reason is written first."""
    if threading.current_thread() is not threading.main_thread():
        sys.stderr.write(f"{reason}\n")
    return RuntimeError(reason)


def _count(operation, args, where, made, has_here):
    if operation.is_view:
        COUNTS.views += 1
    elif operation.name != "_local_scalar_dense":
        COUNTS.kernels += 1
    COUNTS.add_read(operation.name in WAIT)
    if operation.is_indexed:
        indices = [index for index in args[1] if index is not None]
        COUNTS.add_read(any(index.dtype == torch.bool for index in indices))
        COUNTS.add_copies(sum(not isinstance(index, OnDevice) for index in indices))
    elif operation.name == "_to_copy" and where is not None:
        COUNTS.add_read(not made)
        COUNTS.add_copies(made and not has_here)
    elif operation.name == "copy_":
        written, source = (isinstance(value, OnDevice) for value in args[:2])
        COUNTS.add_read(source and not written)
        COUNTS.add_copies(written and not source)


def real(value):
    """Return the tensor on the CPU inside one of the device; anything else as it is."""
    return value._real if isinstance(value, OnDevice) else value


def on_device(value):
    """Wrap a tensor of the CPU; anything else as it is."""
    return OnDevice(value) if isinstance(value, torch.Tensor) and not isinstance(value, OnDevice) else value


def each(function, content):
    """Apply a function to all leaves of lists, tuples and dicts."""
    if type(content) in (list, tuple):
        return type(content)(each(function, value) for value in content)
    if isinstance(content, dict):
        return {key: each(function, value) for key, value in content.items()}
    return content if isinstance(content, list | tuple) else function(content)


def leaves(content):
    """Yield all leaves of lists, tuples and dicts."""
    for value in content.values() if isinstance(content, dict) else content:
        if isinstance(value, list | tuple | dict):
            yield from leaves(value)
        else:
            yield value


def _empty_strided(size, stride, dtype=None, **_):
    return OnDevice(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source, to, non_blocking=False):
    if isinstance(to, OnDevice) != isinstance(source, OnDevice):
        COUNTS.add_copies(isinstance(to, OnDevice))
        COUNTS.add_read(isinstance(source, OnDevice))
    real(to).copy_(real(source))
    return to


_library = torch.library.Library("aten", "IMPL")  # ways in C++ that no mode sees: new_tensor, indices that are lists
_library.impl("empty_strided", _empty_strided, "PrivateUse1")
_library.impl("_copy_from", _copy_from, "PrivateUse1")
