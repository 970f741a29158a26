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

OF_GENERAL = {
    "general_accumulate_pass": [POINTER, POINTER],
    "general_direction_pass": [POINTER, POINTER, POINTER],
    "general_move_pass": [POINTER, POINTER],
}
"""The passes of architectures whose steps are normalised, with the types of their arguments."""


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


class _General(ctypes.Structure):
    _fields_ = fields("figures rate first first_bias second second_bias output directions")


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled passes, or None where there are none to use; see `compiled.load_library`."""
    loaded = load_library("learned_optimizers.native._kernels")
    if loaded is None:
        return None
    arguments = {"accumulate_pass": [POINTER, INT, POINTER], "step_pass": [POINTER, POINTER, POINTER]} | OF_GENERAL
    for name, types in arguments.items():
        if hasattr(loaded, name):  # one that was compiled from older sources has not all of them
            one_pass = getattr(loaded, name)
            one_pass.restype, one_pass.argtypes = None, types
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
    loaded, rows = library(), [row for name in rule.accumulators for row in elements.rows(name)]
    if loaded is None or (rule.is_normalised and not all(hasattr(loaded, name) for name in OF_GENERAL)):
        return False
    return all(
        value.dtype == torch.float32 and value.device.type == "cpu" and value.is_contiguous()
        for value in (*elements.params, *elements.gradients, *rows)
    )


def accumulate(rule: Architecture, elements: Elements, of_tensors: Tensors) -> Tensor:
    """Make the first pass, that of `Architecture.accumulate`, in place: sums over each tensor, [k, c]."""
    given = _given(rule, elements, rule.limit(of_tensors))
    sums = torch.zeros(len(elements.params), rule.sums, dtype=torch.float64, device="cpu")
    passes: ctypes.CDLL = library()  # type: ignore[assignment] # `supports` has seen it
    tensors = ctypes.byref(_tensors(given, elements))
    if rule.is_normalised:
        passes.general_accumulate_pass(tensors, sums.data_ptr())
    else:
        passes.accumulate_pass(tensors, rule.sums, sums.data_ptr())
    return sums.float()


def step(rule: Architecture, tensors: Tensors, elements: Elements, plan: Plan) -> Tensor | None:
    """Make the second pass, that of `Architecture.step`, in place: sums over each tensor, [k, c], where it wants any.

    plan: its "rate", [k, 1], multiplies each step.
    """
    if rule.is_normalised:
        return _normalised_step(rule, tensors, elements, plan)
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


def _normalised_step(rule: Architecture, tensors: Tensors, elements: Elements, plan: Plan) -> Tensor:
    """Make the second pass of an architecture that multiplies steps by what their squares sum up to."""
    given = _given(rule, elements, None)
    directions = [torch.empty_like(param) for param in elements.params]
    weights = {"first": "input.weight", "second": "hidden.weight", "output": "output.weight"}
    parts = {name: tensors[of].T for name, of in weights.items()}
    parts |= {"first_bias": tensors["input.bias"], "second_bias": tensors["hidden.bias"]}
    parts |= {"figures": plan.tensors["of_elements"]}
    parts |= {"directions": torch.tensor([one.data_ptr() for one in directions], device="cpu")}
    parts = _dense(parts)
    sums = torch.zeros(len(elements.params), 1, dtype=torch.float64, device="cpu")
    of_tensors, network = _tensors(given, elements), _General(**_addresses(parts))
    passes: ctypes.CDLL = library()  # type: ignore[assignment] # `supports` has seen it
    passes.general_direction_pass(ctypes.byref(of_tensors), ctypes.byref(network), sums.data_ptr())
    total = sums.float()
    rate = (plan.tensors["rate"] * rule.factors(plan, total)).contiguous()
    network.rate = rate.data_ptr()
    passes.general_move_pass(ctypes.byref(of_tensors), ctypes.byref(network))
    return total


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
