"""What capture as a CUDA graph is worth: the gradient in the images, PGD, and the gradients of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import search_step
import torch
from torch import Tensor
from torch.autograd import grad
from torch.nn import functional as F

from cuda_phases.counting import counted
from cuda_phases.place import Place, Row

WARM_UPS = 3  # calls before a capture, as PyTorch asks for
Region = Callable[[], Tensor]


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the seconds of each region run and replayed, and the distance of what they give.

    Where there is nothing to capture, what the region waits for: anything would forbid the capture.
    """
    for name, region in _regions(place).items():
        row: Row = {"region": name, "eager s": place.seconds(region)}
        if place.is_cuda:
            expected = region().clone()
            replay, output = captured(region)
            row |= {"replayed s": place.seconds(replay)}
            row |= {"distance": ((output - expected).norm() / expected.norm()).item()}
        else:
            row |= counted(place, region)
        yield row


def captured(region: Region) -> tuple[Callable[[], object], Tensor]:
    """Capture a region as a CUDA graph; returns what replays it, and the tensor that holds what it gives."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            region()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = region()
    return graph.replay, output


def _regions(place: Place) -> dict[str, Region]:
    size = place.sizes.search
    setting = search_step.Setting(size.channels, size.layers, size.image_size, size.batch)
    _, network, (images, labels), _ = place.sizes.supernets(setting, torch.float32, place.device)
    weights = network.weights()

    def slope(inputs: Tensor, *of: Tensor) -> list[Tensor]:
        return list(grad(F.cross_entropy(network(inputs), labels), of))

    def input_gradient() -> Tensor:
        for weight in weights:
            weight.requires_grad_(False)
        free = images.detach().requires_grad_()
        (found,) = slope(free, free)
        for weight in weights:
            weight.requires_grad_(True)
        return found

    def attack() -> Tensor:
        return _pgd(images, lambda attacked: slope(attacked, attacked)[0], size.steps)

    def step_gradients() -> Tensor:
        return torch.cat([part.flatten() for part in slope(images, network.alphas, *weights)])

    return {
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
