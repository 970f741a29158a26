"""What the processes of one run share: means of gradients, counts, random states, and the batch's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn

from pipeline.settings import FabricSettings
from search_space.kernels.statistics import synchronise_statistics


def mean_over_processes(fabric: Fabric, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean of each tensor over the processes; with one process the tensors themselves."""
    if fabric.world_size == 1:
        return list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])  # at once: each exchange waits for the slowest process
    mean = cast("Tensor", fabric.all_reduce(flat, reduce_op="mean"))
    parts = torch.split(mean, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]


def of_all_processes(fabric: Fabric, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor [n, ...] joined with those of the other processes, [processes * n, ...], in their order."""
    if fabric.world_size == 1:
        return list(tensors)
    return [_joined(fabric, tensor) for tensor in tensors]


def _joined(fabric: Fabric, tensor: Tensor) -> Tensor:
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(fabric.world_size)]
    distributed.all_gather(parts, tensor.contiguous())  # Fabric's own goes through functions that torch deprecates
    return torch.cat(parts)


def sum_over_processes(fabric: Fabric, counts: Tensor) -> Tensor:
    """Return the sum of whole numbers over the processes, exact: int64 [...] on the CPU -> the same."""
    (joined,) = of_all_processes(fabric, [counts[None].to(fabric.device)])
    return joined.sum(dim=0).cpu()


def share_of(fabric: Fabric) -> tuple[int, int]:
    """(rank, processes), as sets of images take it."""
    return fabric.global_rank, fabric.world_size


def done_by_all(fabric: Fabric, batch: int, batches: int) -> int:
    """How many more batches are done when this process, in step with the others, has done `batch` of `batches`."""
    return min(fabric.world_size, batches - batch)


def synchronise(fabric: Fabric, settings: FabricSettings, module: nn.Module) -> None:
    """Let batch norm use the batches of all processes, where the settings ask for it and there are several."""
    if settings.synchronised_statistics and fabric.world_size > 1:
        synchronise_statistics(module)


def random_state(fabric: Fabric) -> dict[str, Tensor]:
    """Collect the states of torch's global generators, to go on within an epoch: uint8 [processes, bytes] by device."""
    states = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(fabric.device)
    joined = of_all_processes(fabric, [state[None].to(fabric.device) for state in states.values()])
    return dict(zip(states, joined, strict=True))


def restore_random_state(fabric: Fabric, states: Mapping[str, Tensor]) -> None:
    """Put torch's global generators where they were."""
    # copies: torch reads a state from the start of its storage, whatever part of it a view shows
    own = {device: state[fabric.global_rank].cpu().clone() for device, state in states.items()}
    torch.set_rng_state(own["cpu"])
    if fabric.device.type == "cuda" and "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], fabric.device)
