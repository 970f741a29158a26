"""What CUDA graphs are worth: to whole steps, by `fabric.graphs`, and to the parts that a step is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import search_step
import torch
from processes import retraining_step
from synthetic import ONE_THREAD
from torch import Tensor
from torch.autograd import grad
from torch.nn import functional as F

from cuda_phases.counting import counted
from cuda_phases.place import Place, Row
from cuda_phases.steps import PLAIN, search_call
from pipeline.compute.graphs import CapturedCall, cuda_graphs

Region = Callable[[Tensor], Tensor]
"""From images to what a step computes of them."""


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the seconds of each step and region run and replayed, and the distance of what regions give.

    Where there is no CUDA, give what the region waits for: CUDA records nothing that waits.
    """
    yield from _steps(place)
    images, regions = _regions(place)
    for name, region in regions.items():
        row: Row = {"region": name, "plain s": place.seconds(partial(region, images))}
        if place.is_cuda:
            expected, call = region(images), CapturedCall(lambda images, region=region: [region(images)], cuda_graphs())
            (found,) = call(images)
            row |= {"replayed s": place.seconds(partial(call, images))}
            row |= {"distance": ((found - expected).norm() / expected.norm()).item()}
        else:
            row |= counted(place, partial(region, images))
        yield row


def _steps(place: Place) -> Iterator[Row]:
    """Give seconds and memory of whole steps by the switch, and what the first call takes, which records."""
    for graphs, where in (("off", PLAIN), ("auto", ONE_THREAD)):
        steps = {
            "search, first order": search_call(place, place.sizes.search, where=where),
            "retraining": retraining_step(place.sizes.retrained, where, place.make_fabric("32-true")),
        }
        for name, step in steps.items():
            place.forget_peak()
            place.wait()
            started = time.perf_counter()
            step()
            place.wait()
            first = time.perf_counter() - started
            row: Row = {"step": name, "graphs": graphs, "first s": first, "s": place.seconds(step, most=2)}
            yield row | {"peak GiB": place.peak_gib()}


def _regions(place: Place) -> tuple[Tensor, dict[str, Region]]:
    size = place.sizes.search
    setting = search_step.Setting(size.channels, size.layers, size.image_size, size.batch)
    _, network, (images, labels), _ = place.sizes.supernets(setting, torch.float32, place.device)
    weights = network.weights()

    def slope(inputs: Tensor, *of: Tensor) -> list[Tensor]:
        return list(grad(F.cross_entropy(network(inputs), labels), of))

    def input_gradient(images: Tensor) -> Tensor:
        for weight in weights:
            weight.requires_grad_(False)
        free = images.detach().requires_grad_()
        (found,) = slope(free, free)
        for weight in weights:
            weight.requires_grad_(True)
        return found

    def attack(images: Tensor) -> Tensor:
        return _pgd(images, lambda attacked: slope(attacked, attacked)[0], size.steps)

    def step_gradients(images: Tensor) -> Tensor:
        return torch.cat([part.flatten() for part in slope(images, network.alphas, *weights)])

    return images, {
        "gradient in the images": input_gradient,
        f"PGD-{size.steps}": attack,
        "gradients in alphas and weights": step_gradients,
    }


def _pgd(images: Tensor, slope: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """PGD without a random start, which a replay would not draw anew."""
    attacked = images
    for _ in range(steps):
        free = attacked.detach().requires_grad_()
        moved = free.detach() + search_step.STEP * slope(free).sign()
        attacked = (images + (moved - images).clamp(-search_step.EPS, search_step.EPS)).clamp(0, 1)
    return attacked
