"""Compiled code for float32 on the CPU: both passes of a learned optimizer over the elements of its tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from compiled import INT, POINTER, fields, load_library
from learned_optimizers.architectures.base import Architecture, Plan, Tensors
from learned_optimizers.architectures.features import DIRECTION_SCALE, MAGNITUDE_SCALE, SMALLEST


class _Tensors(ctypes.Structure):
    _fields_ = (
        *fields("gradients params momenta squares limits sizes shares"),
        *fields(integers="count decays threads"),
        ("piece", ctypes.c_int64),
        ("smallest", ctypes.c_float),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        *fields("scale start rate first first_floor second second_floor output bias"),
        *((name, ctypes.c_float) for name in ("direction_scale", "magnitude_scale")),
    )


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled passes, or None where there are none to use; see `compiled.load_library`."""
    loaded = load_library("learned_optimizers.native._kernels")
    if loaded is None:
        return None
    loaded.accumulate_pass.restype = loaded.step_pass.restype = None
    loaded.accumulate_pass.argtypes = [POINTER, INT, POINTER]
    loaded.step_pass.argtypes = [POINTER, POINTER, POINTER]
    return loaded


@dataclass(frozen=True, eq=False)
class Elements:
    """Those of k tensors. params, gradients: each [n].  states: of each, name -> [c, n] and others.

    piece: elements of a tensor that a thread takes at once.
    """

    params: Sequence[Tensor]
    gradients: Sequence[Tensor]
    states: Sequence[Mapping[str, Tensor]]
    piece: int

    def rows(self, name: str) -> list[Tensor]:
        """Of each tensor's state."""
        return [state[name] for state in self.states]


def supports(rule: Architecture, elements: Elements) -> bool:
    """Return whether the passes take these: compiled code is there, and all is float32 on the CPU, without gaps."""
    if not rule.is_compiled:
        return False
    rows = [row for name in rule.accumulators for row in elements.rows(name)]
    return library() is not None and all(
        value.dtype == torch.float32 and value.device.type == "cpu" and value.is_contiguous()
        for value in (*elements.params, *elements.gradients, *rows)
    )


def accumulate(rule: Architecture, elements: Elements, of_tensors: Tensors) -> Tensor:
    """Make the first pass, that of `Architecture.accumulate`, in place: sums over each tensor, [k, c]."""
    given = _given(rule, elements, rule.limit(of_tensors))
    sums = torch.zeros(len(elements.params), rule.sums, dtype=torch.float64, device="cpu")
    library().accumulate_pass(  # type: ignore[union-attr] # `supports` has seen it
        ctypes.byref(_tensors(given, elements)), rule.sums, sums.data_ptr()
    )
    return sums.float()


def step(rule: Architecture, tensors: Tensors, elements: Elements, plan: Plan) -> Tensor | None:
    """Make the second pass, that of `Architecture.step`, in place: sums over each tensor, [k, c], where it wants any.

    plan: its "rate", [k, 1], multiplies each step.
    """
    layers = rule.layers(tensors, plan)
    weights = {"first": layers.first.T, "second": layers.second.T, "output": layers.output.T}
    floors = {"first_floor": layers.first_floor, "second_floor": layers.second_floor}
    of_tensors = {"scale": plan.tensors["scale"], "rate": plan.tensors["rate"], "start": layers.start}
    parts = _dense({**weights, **floors, **of_tensors, "bias": layers.bias})
    network = _Network(direction_scale=DIRECTION_SCALE, magnitude_scale=MAGNITUDE_SCALE, **_addresses(parts))
    given = _given(rule, elements, plan.tensors.get("limit"))
    hidden = torch.zeros(len(elements.params), len(layers.second), dtype=torch.float64, device="cpu")
    library().step_pass(  # type: ignore[union-attr] # `supports` has seen it
        ctypes.byref(_tensors(given, elements)),
        ctypes.byref(network),
        None if layers.message is None else hidden.data_ptr(),
    )
    # the sum of a linear layer's outputs is its output for the sum of what it reads
    return None if layers.message is None else hidden.float() @ layers.message.T


def _given(rule: Architecture, elements: Elements, limit: Tensor | None) -> dict[str, Tensor]:
    """Return what `_Tensors` points to, by name; it must outlive the call."""
    several = {"params": elements.params, "gradients": elements.gradients}
    several |= {name: elements.rows(name) for name in rule.accumulators}
    integers = {name: [value.data_ptr() for value in values] for name, values in several.items()}
    integers["sizes"] = [param.numel() for param in elements.params]
    addresses = {name: torch.tensor(row, device="cpu") for name, row in integers.items()}
    return addresses | _dense({"shares": rule.shares.float(), "limits": limit})


def _tensors(given: Mapping[str, Tensor], elements: Elements) -> _Tensors:
    numbers = {"count": len(elements.params), "decays": len(given["shares"]), "threads": torch.get_num_threads()}
    return _Tensors(**numbers, piece=elements.piece, smallest=SMALLEST, **_addresses(given))


def _dense(figures: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: figure.contiguous() for name, figure in figures.items() if figure is not None}


def _addresses(figures: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: figure.data_ptr() for name, figure in figures.items()}
