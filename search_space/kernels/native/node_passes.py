"""The compiled passes over one node of a supernet: separable operations on all its edges, forward and backward."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from compiled import fields
from search_space.kernels.folding import Fold, fold, fold_backward
from search_space.kernels.native.loading import library

_FIRST_FORWARD, _SECOND_FORWARD, _MIX, _MIX_BACKWARD, _SECOND_BACKWARD, _FIRST_BACKWARD = range(6)
_MIXING = -1  # among the folds of operations


class _State(ctypes.Structure):
    _fields_ = (*fields("values slope"), *fields(integers="height width stride"))


class _FoldSlopes(ctypes.Structure):
    _fields_ = (*fields("slope"), *fields(integers="slope_by_group"), *fields("transposed matrix offset"))


class _Operation(ctypes.Structure):
    _fields_ = (
        *fields("first_weight first first_moments hidden_weight hidden_bias", "kernel dilation"),
        *fields("second_weight second second_moments mixing_weight mixing_moments"),
        *(("of_first", _FoldSlopes), ("of_second", _FoldSlopes)),
        *fields("hidden_slope hidden_moments"),
    )


class _Node(ctypes.Structure):
    _fields_ = fields("bias", "batch height width C groups border threads")


@dataclass(frozen=True)
class SeparableWeights:
    """One separable operation on all edges of a node.

    depthwise: of each stage [edges * C, 1, k, k].  pointwise: of each stage [edges, C, C].
    """

    dilation: int
    depthwise: Sequence[Tensor]
    pointwise: Sequence[Tensor]


class NodePasses:
    """The passes over one node, with what the way back needs of the way forward."""

    def __init__(
        self, operations: Sequence[SeparableWeights], scales: Tensor, strides: Sequence[int], states: Sequence[Tensor]
    ) -> None:
        self.operations = operations
        batch, channels, height, width = states[0].shape
        height, width = -(-height // strides[0]), -(-width // strides[0])
        border = max(of.dilation * (of.depthwise[0].shape[2] // 2) for of in operations)
        self.node = _Node(batch, height, width, channels, len(states), border, torch.get_num_threads())
        self.features = len(states), batch, height, width, channels
        self.pixels = batch * height * width
        self.states = (_State * len(states))(
            *(
                _State(state.data_ptr(), None, *state.shape[2:], stride)
                for state, stride in zip(states, strides, strict=True)
            )
        )
        self.kept: list[Tensor] = []  # which the passes know by address alone, and where they look it up
        self.places: list[tuple[ctypes.Structure, str]] = []
        self.of = (_Operation * len(operations))()
        for of, operation in zip(self.of, operations, strict=True):
            of.kernel, of.dilation = operation.depthwise[0].shape[2], operation.dilation
            for stage, weight in zip(("first", "second"), operation.depthwise, strict=False):
                self._put(of, f"{stage}_weight", weight.flatten(1).t())
                self._put(of, stage, torch.empty(self.features, dtype=torch.float32))
        self.folds: dict[int, Fold] = {}  # of the first stages, by operation, and of what they are mixed with
        self.scales = scales

    def forward(self) -> Tensor:
        """Return what enters the node, [N, C, H, W]."""
        moments = [self._moments() for _ in self.operations]
        for of, kept in zip(self.of, moments, strict=True):
            of.first_moments = kept.data_ptr()
        self._run(_FIRST_FORWARD)
        for index, operation in enumerate(self.operations):
            if len(operation.depthwise) == 2:
                moments[index] = self._second_forward(index, operation, moments[index])
        means, seconds = zip(*(self._averages(kept) for kept in moments), strict=True)
        weight = torch.cat([of.pointwise[-1] for of in self.operations]).double()
        mixing = self.folds[_MIXING] = fold(
            torch.cat(means), torch.cat(seconds), weight, self.scales.flatten().double()
        )
        self._put(self.node, "bias", mixing.bias.sum(dim=0).float())
        for of, part in zip(self.of, torch.split(mixing.folded.float(), len(self.states)), strict=True):
            self._put(of, "mixing_weight", part)
        total = torch.empty(self.features[1:], dtype=torch.float32)
        self._run(_MIX, values=total)
        return total.permute(0, 3, 1, 2)

    def backward(
        self, slope: Tensor, states: Sequence[Tensor], wanted: Sequence[bool]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the gradients in the scales and in the states."""
        slope = slope.permute(0, 2, 3, 1).contiguous()
        moments = torch.stack([self._moments() for _ in self.operations])
        for of, kept in zip(self.of, moments, strict=True):
            of.mixing_moments = kept.data_ptr()
        self._run(_MIX_BACKWARD, values=slope)
        products, sums = self._split(moments.flatten(0, 1))
        found = fold_backward(self.folds[_MIXING], products, sums, self.pixels, wants_weight=False)
        of_states = [torch.empty_like(state) if want else None for state, want in zip(states, wanted, strict=True)]
        if any(wanted):
            parts = self.folds[_MIXING].folded, found.offset, found.matrix
            by_operation = [torch.split(part, len(states)) for part in parts]
            for index, (folded, offset, matrix) in enumerate(zip(*by_operation, strict=True)):
                self._through(index, self._fold_slopes(slope, False, folded, offset, matrix))
            for state, of_state in zip(self.states, of_states, strict=True):
                state.slope = None if of_state is None else of_state.data_ptr()
            self._run(_FIRST_BACKWARD)
        return cast("Tensor", found.scale).view_as(self.scales).float(), of_states

    def _second_forward(self, index: int, operation: SeparableWeights, first_moments: Tensor) -> Tensor:
        of, weight, moments = self.of[index], operation.pointwise[0].double(), self._moments()
        first_fold = self.folds[index] = fold(*self._averages(first_moments), weight)
        for name, value in (("hidden_weight", first_fold.folded), ("hidden_bias", first_fold.bias)):
            self._put(of, name, value.float())
        of.second_moments = moments.data_ptr()
        self._run(_SECOND_FORWARD, index)
        return moments

    def _through(self, index: int, of_last: _FoldSlopes) -> None:
        """Lead the gradient in an operation's last features back to its first."""
        of, first_fold = self.of[index], self.folds.get(index)
        if first_fold is None:
            of.of_first = of_last
            return
        hidden, moments = torch.empty(self.features, dtype=torch.float32), self._moments()
        self._put(of, "hidden_slope", hidden)
        of.of_second, of.hidden_moments = of_last, moments.data_ptr()
        self._run(_SECOND_BACKWARD, index)
        found = fold_backward(first_fold, *self._split(moments), self.pixels, wants_weight=False, wants_scale=False)
        of.of_first = self._fold_slopes(hidden, True, first_fold.folded, found.offset, found.matrix)

    def _fold_slopes(
        self, slope: Tensor, by_group: bool, folded: Tensor, offset: Tensor, matrix: Tensor
    ) -> _FoldSlopes:
        fold_slopes = _FoldSlopes(slope_by_group=by_group)
        values = (slope, folded.transpose(1, 2), matrix, offset)
        for name, value in zip(("slope", "transposed", "matrix", "offset"), values, strict=True):
            self._put(fold_slopes, name, value.float())
        return fold_slopes

    def _run(self, which: int, index: int | None = None, values: Tensor | None = None) -> None:
        library().node_pass(  # type: ignore[union-attr] # `supports` has seen it
            ctypes.byref(self.node),
            which,
            ctypes.byref(self.states),
            len(self.operations),
            ctypes.byref(self.of[index or 0]),
            None if values is None else values.data_ptr(),
        )

    def _moments(self) -> Tensor:
        """Room for products [C, C] and sums [C] of every edge, in double precision."""
        channels = self.features[-1]
        return torch.zeros(len(self.states), channels * (channels + 1), dtype=torch.float64)

    def _split(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.features[-1]
        products, sums = torch.split(moments, [channels**2, channels], dim=1)
        return products.reshape(-1, channels, channels), sums.unsqueeze(1)

    def _averages(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        products, sums = self._split(moments)
        return sums / self.pixels, products / self.pixels

    def _put(self, structure: ctypes.Structure, name: str, value: Tensor) -> None:
        """Give a tensor to the passes."""
        self.kept.append(value.contiguous())
        self.places.append((structure, name))
        setattr(structure, name, self.kept[-1].data_ptr())

    def release(self) -> list[Tensor]:
        """Hand over all that the passes were given and have found, which is theirs no longer."""
        kept, self.kept = self.kept, []
        folds, self.folds = self.folds, {}
        self.folded = list(folds)
        return [*kept, *(tensor for of in folds.values() for tensor in of.tensors())]

    def restore(self, kept: Sequence[Tensor]) -> None:
        """Give back what forward released, perhaps computed anew and elsewhere."""
        of_folds = len(Fold._fields) * len(self.folded)
        self.kept, rest = list(kept[: len(kept) - of_folds]), kept[len(kept) - of_folds :]
        for operation in self.folded:
            self.folds[operation], rest = Fold.read(rest)
        self.places = self.places[: len(self.kept)]
        for (structure, name), value in zip(self.places, self.kept, strict=True):
            setattr(structure, name, value.data_ptr())
