"""Steps: of the search, plain and ours, by order, batch and precision; of retraining, and of optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import search_step
import torch
from processes import retraining_step
from synthetic import ONE_THREAD, Size, random_search
from torch import nn
from torch.optim import SGD, Adam

from cuda_phases.counting import busiest, counted
from cuda_phases.place import Place, Row
from learned_optimizers import LearnedOptimizer, new_theta
from pipeline.settings import FabricSettings

ORDERS = ("first", "unrolled")
PRECISIONS = ("32-true", "bf16-mixed")
ARCHITECTURES = ("mlp", "hierarchical")
PLAIN = ONE_THREAD.model_copy(update={"graphs": "off"})  # the phase of capture has what graphs change
TENSORS = 100  # that hold an optimizer's parameters together


def search_rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give seconds, peak memory and counts of a step. The counts are of a step with PGD-1, which profiles in time."""
    batch, *larger = place.sizes.batches
    for order in ORDERS:
        yield _ours(place, order, batch)
        yield _plain(place, order, batch)
    yield from _counted(place)
    for order in ORDERS:
        yield _ours(place, order, batch, precision="bf16-mixed")
    for more in larger:
        for order in ORDERS:
            yield _ours(place, order, more)


def _measured(place: Place, call: Callable[[], object]) -> Row:
    place.forget_peak()
    try:
        seconds = place.seconds(call, most=2)
    except torch.OutOfMemoryError:
        return {"note": "out of memory"}
    return {"s": seconds, "peak GiB": place.peak_gib()}


def _case(way: str, order: str, batch: int, precision: str) -> Row:
    return {"step": way, "order": order, "batch": batch, "precision": precision}


def search_call(
    place: Place, size: Size, precision: str = "32-true", where: FabricSettings = PLAIN
) -> Callable[[], object]:
    """Return a step of a search on random images, as a search runs it, its reads and copies among it."""
    search = random_search(size, where, place.make_fabric(precision))
    search.start_epoch()
    pair = next(search.batches())
    return lambda: search.step(*pair)


def _ours(place: Place, order: str, batch: int, precision: str = "32-true") -> Row:
    size = replace(place.sizes.with_batch(batch), search=(("order", order),))
    return _case("ours", order, batch, precision) | _measured(place, search_call(place, size, precision))


def _plain(place: Place, order: str, batch: int) -> Row:
    size = place.sizes.search
    setting = search_step.Setting(size.channels, size.layers, size.image_size, batch)
    plain, fused, train, valid = place.sizes.supernets(setting, torch.float32, place.device)
    by_hand, _ = search_step.attacks("pgd-7" if size.steps > 1 else "fgsm", plain, fused)
    step = search_step.plain_step(plain, order, by_hand)
    return _case("plain", order, batch, "32-true") | _measured(place, lambda: step(train, valid))


def _counted(place: Place) -> Iterator[Row]:
    size = replace(place.sizes.search, steps=1)
    call = search_call(place, size)
    call()
    yield _case("ours, PGD-1, counted", "first", size.batch, "32-true") | counted(place, call)
    for row in busiest(place, call):
        yield {"step": "ours, PGD-1, kernels", "order": "first", **row}


def training_rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the seconds and the memory of each."""
    size = place.sizes.retrained
    for precision in PRECISIONS:
        place.forget_peak()
        step = retraining_step(size, PLAIN, place.make_fabric(precision))
        row = {"step": f"retraining, PGD-{size.steps}", "precision": precision, "s": place.seconds(step)}
        yield row | {"peak GiB": place.peak_gib()} | (counted(place, step) if precision == PRECISIONS[0] else {})
    for name, step in _optimizer_steps(place).items():
        yield {"step": name, "precision": "32-true", "s": place.seconds(step), **counted(place, step)}


def _optimizer_steps(place: Place) -> dict[str, Callable[[], object]]:
    each = place.sizes.parameters // TENSORS

    def parameters() -> list[nn.Parameter]:
        generator = torch.Generator().manual_seed(0)
        made = [nn.Parameter(torch.randn(each, generator=generator).to(place.device)) for _ in range(TENSORS)]
        for parameter in made:
            parameter.grad = torch.ones_like(parameter)
        return made

    def learned(name: str) -> Callable[[], object]:
        loss = torch.ones((), device=place.device)
        optimizer = LearnedOptimizer(parameters(), new_theta(name, generator=torch.Generator().manual_seed(0)))
        return lambda: optimizer.step(loss=loss)

    steps: dict[str, Callable[[], object]] = {
        "SGD": SGD(parameters(), lr=1e-3, momentum=0.9, foreach=True).step,
        "Adam": Adam(parameters(), lr=1e-3, foreach=True).step,
    }
    steps |= {f"learned, {name}": learned(name) for name in ARCHITECTURES}
    return {f"{name}, {TENSORS * each:,} parameters": step for name, step in steps.items()}
