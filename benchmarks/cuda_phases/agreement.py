"""Whether the device computes in float64 what the CPU does: search, retraining, min-norm, and a learned step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import search_step
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from cuda_phases.place import Place, Row
from learned_optimizers import LearnedOptimizer, new_theta
from mgda import MGDA
from search_space import PUBLISHED, Network

LIMIT = 1e-9  # relative distance in float64
SINGLE_LIMIT = 1e-4  # of a learned step, whose network computes in float32
ORDERS = ("first", "unrolled")
GRADIENTS = ("accuracy", "robustness", "weights")


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the relative distance of each pair of results, and whether it is below its limit."""
    for order in ORDERS:
        yield from _search(place, order)
    yield _compared("retraining, loss and gradients", _both(place, _retraining))
    yield _compared("min-norm, direction", _both(place, _min_norm))
    yield _compared("learned optimizer, parameters after three steps", _both(place, _learned), SINGLE_LIMIT)


def _both(place: Place, compute: Callable[[torch.device], Tensor]) -> tuple[Tensor, Tensor]:
    return compute(place.device).cpu(), compute(torch.device("cpu"))


def _compared(what: str, found: tuple[Tensor, Tensor], limit: float = LIMIT) -> Row:
    ours, expected = found
    distance = ((ours - expected).norm() / expected.norm()).item()
    return {"what": what, "distance": distance, "limit": limit, "agrees": distance <= limit}


def _search(place: Place, order: str) -> Iterator[Row]:
    """Compare the fused step on the device with the fused and the plain one on the CPU, on the same attacked images."""
    expected = _search_vectors(place, torch.device("cpu"), order, plain=True)
    for name, device, plain in (
        ("fused on the CPU", torch.device("cpu"), False),
        ("plain on the device", place.device, True),
        ("fused on the device", place.device, False),
    ):
        found = _search_vectors(place, device, order, plain=plain)
        for gradient, ours, theirs in zip(GRADIENTS, found, expected, strict=True):
            yield _compared(f"search, {order}: {gradient}, {name} and plain on the CPU", (ours, theirs))


def _search_vectors(place: Place, device: torch.device, order: str, *, plain: bool) -> list[Tensor]:
    """Return the gradients of a search step, in float64; attacks are signs of noise that no rounding changes."""
    made = place.sizes.supernets(place.sizes.checked, torch.float64, torch.device("cpu"))
    theirs, ours = (network.to(device) for network in made[:2])
    train, valid = ((images.to(device), labels.to(device)) for images, labels in made[2:])

    def attack(images: Tensor, labels: Tensor) -> Tensor:
        signs = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign().to(images)
        return (images + search_step.EPS * signs).clamp(0, 1)

    make = search_step.plain_step if plain else search_step.project_step
    found = make(theirs if plain else ours, order, attack)(train, valid)  # type: ignore[arg-type]
    return [vector.cpu() for vector in search_step.vectors(theirs, ours, found, plain)]


def _retraining(device: torch.device) -> Tensor:
    torch.manual_seed(0)
    network = Network(PUBLISHED["DARTS_V2"].genotype, channels=4, layers=3).double()
    images, labels = torch.rand(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    network.to(device).to(memory_format=torch.channels_last)
    loss = F.cross_entropy(network(images.to(device)), labels.to(device))
    return torch.cat([loss.detach()[None], *(part.flatten() for part in grad(loss, list(network.parameters())))])


def _min_norm(device: torch.device) -> Tensor:
    jacobian = torch.randn(4, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return MGDA()(jacobian.to(device))


def _learned(device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(300, generator=generator).to(device))
    optimizer = LearnedOptimizer([parameter], new_theta("mlp", generator=generator))
    for _ in range(3):
        loss = parameter.square().mean()
        (parameter.grad,) = grad(loss, parameter)
        optimizer.step(loss=loss.detach())
    return parameter.detach().double()
