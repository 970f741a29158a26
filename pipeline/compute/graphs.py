"""Calls whose work on a device is recorded once and replayed, as starting many small kernels takes longer than they do.

A replay runs the same kernels on the same memory. So what is recorded may depend on nothing but the values of tensors
that stay where they are: inputs, which are copied to where it reads them, parameters, and the state of the device's
random generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor

from attacks import LaterChecks, checked_later
from pipeline.errors import RunError
from pipeline.settings import FabricSettings

WARM_UPS = 3  # calls before a recording, in which libraries choose their kernels and what is kept is made

TensorCall = Callable[..., Sequence[Tensor]]
"""From tensors to tensors."""


class Graph(Protocol):
    """Records what a device is asked for, and asks for it again."""

    def warm_up(self, call: Callable[[], object]) -> None:
        """Make a call as often as a recording needs it; random generators are afterwards as they were."""

    def record(self, call: Callable[[], object]) -> None:
        """Record what a call asks for. Raises RuntimeError where it reads a value or sends one to the device."""

    def replay(self) -> None:
        """Ask for it again."""


MakeGraph = Callable[[], Graph]


class CudaGraph:
    """Records and replays by torch.cuda.CUDAGraph.

    pool: of PyTorch, the memory of intermediate results. Graphs may share one where they run one after another, and
    what they leave is copied before the next one runs.
    """

    def __init__(self, pool: Any) -> None:
        self._graph, self._pool = torch.cuda.CUDAGraph(), pool

    def warm_up(self, call: Callable[[], object]) -> None:
        """Make the call on a stream of its own, as PyTorch asks for."""
        aside, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.random.fork_rng(devices=[torch.cuda.current_device()]), torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                call()
        current.wait_stream(aside)

    def record(self, call: Callable[[], object]) -> None:
        """Record the call; what it draws is drawn anew in each replay, as PyTorch registers the default generator."""
        with torch.cuda.graph(self._graph, pool=self._pool):
            call()

    def replay(self) -> None:
        """Start all kernels at once."""
        self._graph.replay()


def cuda_graphs() -> MakeGraph:
    """Return what makes graphs that share their memory."""
    return partial(CudaGraph, torch.cuda.graph_pool_handle())


GRAPHS: dict[str, Callable[[], MakeGraph]] = {"cuda": cuda_graphs}
"""By the type of device, what returns what makes its graphs."""


def graphs_of(settings: FabricSettings, fabric: Fabric) -> MakeGraph | None:
    """Return what makes a run's graphs; None where it has none: by the settings, on the CPU, in several processes."""
    make = GRAPHS.get(fabric.device.type)
    return make() if make and settings.graphs == "auto" and fabric.world_size == 1 else None


@dataclass(frozen=True)
class _Recording:
    """A graph, and the tensors that it reads and writes: inputs, results, and values of checks."""

    graph: Graph
    inputs: Sequence[Tensor]
    results: Sequence[Tensor]
    checks: LaterChecks

    def takes(self, inputs: Sequence[Tensor]) -> bool:
        """Return whether inputs have the shapes and types of those that were recorded."""
        return [(each.shape, each.dtype) for each in inputs] == [(each.shape, each.dtype) for each in self.inputs]

    def replayed(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        self.checks.repeat()
        return [result.clone() for result in self.results]  # the next replay writes where these lie


class CapturedCall:
    """Makes a call by replaying what the device did in its first one.

    function: from tensors to tensors. It reads no value and sends none to the device, has no effect but its results,
    and is the same whatever changes in Python. What it checks (attacks/later_checks.py) is checked in each call.
    make_graph: records it.

    Results are new tensors without gradients. Inputs of other shapes than the first, such as those of a last smaller
    batch, are given to the function itself. Raises RunError where the work cannot be recorded.
    """

    def __init__(self, function: TensorCall, make_graph: MakeGraph) -> None:
        self._function, self._make_graph = function, make_graph
        self._recording: _Recording | None = None

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Return what the function returns."""
        if self._recording is None:
            self._recording = self._recorded(inputs)
        if self._recording.takes(inputs):
            return self._recording.replayed(inputs)
        return self._function(*inputs)

    def _recorded(self, inputs: Sequence[Tensor]) -> _Recording:
        own, graph = [each.detach().clone() for each in inputs], self._make_graph()
        results: list[Tensor] = []

        def call() -> None:
            results[:] = [result.detach() for result in self._function(*own)]

        with checked_later():
            graph.warm_up(call)
        with _explained(), checked_later() as checks:
            graph.record(call)
        return _Recording(graph, own, results, checks)


@contextmanager
def _explained() -> Iterator[None]:
    """Say what to do where a device refuses to record; memory that does not suffice is another matter."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunError(f"a step cannot be recorded as a graph ({reason}); use fabric.graphs=off") from error


def captured(function: TensorCall, make_graph: MakeGraph | None) -> TensorCall:
    """Let a call be recorded where there are graphs; None leaves the function as it is.

    >>> doubled = captured(lambda images: [2 * images], None)
    >>> doubled(torch.ones(2))
    [tensor([2., 2.])]
    """
    return function if make_graph is None else CapturedCall(function, make_graph)
