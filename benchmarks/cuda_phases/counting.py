"""What a call asks of a device: kernels, views, waits and copies."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from cuda_phases.place import Place, Row

NO_WORK = {"empty", "empty_like", "new_empty", "empty_strided", "detach", "lift_fresh", "_unsafe_view", "alias"}
LONGEST_NAME = 60  # letters of a kernel's name


class _Kernels(TorchDispatchMode):
    """Counts operations of PyTorch, and apart from them those that only describe memory."""

    kernels = views = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(result.alias_info and not result.alias_info.is_write for result in function._schema.returns)
        if is_view or function._schema.name.split("::")[1] in NO_WORK:
            self.views += 1
        else:
            self.kernels += 1
        return function(*args, **(kwargs or {}))


def counted(place: Place, call: Callable[[], object]) -> Row:
    """Count what a call asks of the device: by the profiler on a GPU, by PyTorch's operations elsewhere.

    waits: how often the CPU waits for a value.  copies: from the CPU.  busy s: sum of the kernels' times.
    """
    if place.is_cuda:
        return _waits(call) | _profiled(call)[0]
    if place.counts is not None:
        place.counts.reset()
        call()
        taken = place.counts.taken()
        return {"kernels": taken["kernels"], "waits": taken["reads"], "copies": taken["copies"]}
    with _Kernels() as count:
        call()
    return {"kernels": count.kernels}


def busiest(place: Place, call: Callable[[], object], *, most: int = 8) -> list[Row]:
    """Return the kernels that take most of a call's time on a GPU: name, calls and seconds; none elsewhere."""
    if not place.is_cuda:
        return []
    seconds, calls = _profiled(call)[1:]
    return [
        {"kernel": name[:LONGEST_NAME], "calls": calls[name], "busy s": taken}
        for name, taken in seconds.most_common(most)
    ]


def _waits(call: Callable[[], object]) -> Row:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return {"waits": sum("synchroniz" in str(warning.message) for warning in caught)}


def _profiled(call: Callable[[], object]) -> tuple[Row, Counter[str], Counter[str]]:
    """Return the sums, and by the kernels' names their seconds and calls."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize()
    seconds, calls = Counter[str](), Counter[str]()
    copies = 0
    for event in found.profiler.kineto_results.events():  # type: ignore[union-attr] # without the tree, which takes minutes
        if event.device_type() == DeviceType.CUDA:
            name = event.name()
            copies += "HtoD" in name
            if not name.startswith(("Memcpy", "Memset")):
                seconds[name] += event.duration_ns() / 1e9
                calls[name] += 1
    sums = {"kernels": calls.total(), "copies": copies, "busy s": seconds.total()}
    return sums, seconds, calls
