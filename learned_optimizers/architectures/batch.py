"""Parameters of one device and dtype, computed in blocks that are neither small nor large, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from learned_optimizers import native
from learned_optimizers.architectures.base import Architecture, Block, Memory, Plan, Tensors
from learned_optimizers.architectures.features import Segments

WEIGHTS = "weights"  # in the state of a parameter of half precision: those that it is rounded from
# few enough for 32 features of each (2 MiB) to stay in a core's cache, enough to pay for the calls; a GPU wants more
CHUNK: Mapping[str, int] = {"cpu": 16_384, "cuda": 2**20}


@dataclass(frozen=True)
class Span:
    """What a block holds: some tensors whole, or a part of the elements of one."""

    members: slice
    elements: slice | None


@lru_cache(maxsize=256)
def spans(sizes: tuple[int, ...], chunk: int) -> tuple[Span, ...]:
    """Blocks of about `chunk` elements: small tensors together, large ones in equal parts; none is above 1.5 chunks."""
    found, first, filled = [], 0, 0
    for index, size in enumerate(sizes):
        if filled and filled + size > chunk:
            found.append(_whole(first, index, sizes))
            first, filled = index, 0
        parts = max(1, round(size / chunk))
        if parts == 1:
            filled += size
            continue
        bounds = [part * size // parts for part in range(parts + 1)]
        found += [Span(slice(index, index + 1), slice(*ends)) for ends in pairwise(bounds)]
        first = index + 1
    return (*found, _whole(first, len(sizes), sizes)) if filled else tuple(found)


def _whole(first: int, last: int, sizes: Sequence[int]) -> Span:
    return Span(slice(first, last), slice(0, sizes[first]) if last - first == 1 else None)


@lru_cache(maxsize=256)
def _segments(sizes: tuple[int, ...], device: torch.device) -> Segments:
    return Segments.of(sizes, device)


class Batch:
    """Parameters with their gradients and states: name -> [c, elements] and others; all of one device and dtype.

    members: their places among all that move.  chunk: elements of a block; None for the device's.  memory: of an
    earlier batch, to be used again where it is large enough. Compiled code takes them where it can.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Sequence[Tensor],
        states: Sequence[dict[str, Tensor]],
        *,
        members: slice,
        chunk: int | None,
        memory: Memory | None,
    ) -> None:
        self.architecture = architecture
        self.parameters, self.states, self.members = parameters, states, members
        self.sizes = tuple(parameter.numel() for parameter in parameters)
        pairs = zip(parameters, states, strict=True)
        self.values = [state[WEIGHTS] if WEIGHTS in state else _flat(parameter.detach()) for parameter, state in pairs]
        self.like = self.values[0]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.slopes = [_flat(gradient).to(self.like.dtype) for gradient in gradients]
        chunk = CHUNK.get(self.like.device.type, CHUNK["cuda"]) if chunk is None else chunk
        elements = native.Elements(self.values, self.slopes, states, chunk)
        self.compiled = elements if native.supports(architecture, elements) else None
        self.spans = spans(self.sizes, chunk)
        largest = min(sum(self.sizes), chunk + chunk // 2)
        self.memory = memory if memory is not None and memory.size >= largest else Memory(largest)

    def accumulate(self, tensors: Tensors, of_tensors: Tensors) -> Tensor:
        """The first pass: accumulators are replaced; sums over each tensor, [k, c]. of_tensors: of all batches."""
        own = {name: figures[self.members].to(self.like) for name, figures in of_tensors.items()}
        if self.compiled is not None:
            return native.accumulate(self.architecture, self.compiled, own)
        sums = []
        for span in self.spans:
            of_span = {name: figures[span.members] for name, figures in own.items()}
            accumulators, found = self.architecture.accumulate(tensors, self._block(span), of_span)
            if span.elements is None:  # those of one tensor were written in their place
                self._store(span, accumulators)
            sums.append(found)
        return self._joined(sums)

    def step(self, tensors: Tensors, plan: Plan) -> Tensor | None:
        """The second pass: parameters are replaced; sums over each tensor, [k, c], where the architecture wants any.

        plan: of all batches; its "rate", [k, 1], multiplies each step.
        """
        own = plan.part(self.members).to(self.like)
        if self.compiled is not None:
            sums = native.step(self.architecture, tensors, self.compiled, own)
            for parameter in self.parameters:
                torch.autograd.graph.increment_version(parameter)  # it was written by its address
        else:
            sums = self._step(tensors, own)
        for parameter, values in zip(self.parameters, self.values, strict=True):
            if values.data_ptr() != parameter.data_ptr():  # another memory format
                parameter.copy_(values.view(parameter.shape))
        return sums

    def _step(self, tensors: Tensors, own: Plan) -> Tensor | None:
        sums, waiting = [], []
        for span in self.spans:
            block = self._block(span)
            step, found = self.architecture.step(tensors, block, own.part(span.members))
            if self.architecture.is_normalised:
                waiting.append((span, block.segments, step))
            else:
                self._subtract(span, step, block.segments, own.tensors["rate"])
            if found is not None:
                sums.append(found)
        joined = self._joined(sums) if sums else None
        if joined is not None and waiting:
            rates = own.tensors["rate"] * self.architecture.factors(own, joined)
            for span, segments, step in waiting:
                self._subtract(span, step, segments, rates)
        return joined

    def _joined(self, sums: Sequence[Tensor]) -> Tensor:
        """Return sums of all tensors from those of the blocks; parts of one tensor are added."""
        found: list[Tensor] = []
        for span, own in zip(self.spans, sums, strict=True):
            if span.elements is not None and span.elements.start > 0:
                found[-1] = found[-1] + own
            else:
                found.append(own)
        return torch.cat(found)

    def _block(self, span: Span) -> Block:
        members, part = span.members, span.elements
        states, names = self.states[members], self.architecture.accumulators
        if part is not None:
            rows = {name: states[0][name][:, part] for name in names}
            values, slopes = self.values[members.start][part], self.slopes[members.start][part]
            return Block(values, slopes, rows, Segments(1), self.memory)
        values, slopes = torch.cat(self.values[members]), torch.cat(self.slopes[members])
        rows = {name: self.memory.rows(name, count, values) for name, count in names.items()}
        for name, out in rows.items():
            torch.cat([state[name] for state in states], dim=1, out=out)
        return Block(values, slopes, rows, _segments(self.sizes[members], self.like.device), self.memory)

    def _store(self, span: Span, accumulators: Tensors) -> None:
        for name, rows in accumulators.items():
            own = [state[name] for state in self.states[span.members]]
            torch._foreach_copy_(own, torch.split(rows, list(self.sizes[span.members]), dim=1))

    def _subtract(self, span: Span, step: Tensor, segments: Segments, rates: Tensor) -> None:
        """Move the elements of a block. rates: of all tensors of the batch, [k, 1]."""
        step = step * segments.spread(rates[span.members])[0]
        if span.elements is not None:
            self.values[span.members.start][span.elements] -= step
        else:
            torch._foreach_sub_(list(self.values[span.members]), torch.split(step, list(self.sizes[span.members])))


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).contiguous()  # what has one dimension may have gaps still
