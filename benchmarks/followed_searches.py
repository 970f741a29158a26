"""Searches that advance in turn in one process, and the cosines of their gradients in alpha with exact ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.data import Batch, ImageData
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.hypergradient import ObjectiveGradient
from pipeline.settings import Experiment

REFERENCE = "PGD-7"


@dataclass
class Followed:
    """One variant's search and what was seen along it. cosines: (epoch, by objective).  seconds: of each step."""

    search: BilevelSearch
    cosines: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def cosine(self, objective: str) -> float:
        """Mean along the search; NaN where there is none."""
        seen = [found[objective] for _, found in self.cosines if objective in found]
        return statistics.fmean(seen) if seen else float("nan")


def exact_gradients(reference: BilevelSearch, variant: BilevelSearch, train: Batch, valid: Batch) -> dict[str, Tensor]:
    """The reference's gradients at the variant's weights and alphas; none where those have another form."""
    try:
        reference.supernet.load_state_dict(variant.supernet.state_dict())
        reference.weight_step.optimizer.load_state_dict(variant.weight_step.optimizer.state_dict())
    except (RuntimeError, ValueError):
        return {}
    plain = (Batch(batch.images, batch.labels) for batch in (train, valid))
    return gradients(reference.architecture_step.evaluate_objectives(*plain))


def gradients(found: Mapping[str, ObjectiveGradient]) -> dict[str, Tensor]:
    """Of each objective in alpha, as a vector."""
    return {name: result.gradient.flatten() for name, result in found.items()}


def follow(
    experiments: Mapping[str, Experiment], data: ImageData, probes: int, epochs: int | None
) -> dict[str, Followed]:
    """All searches in turn, a step each; `probes` times an epoch their gradients are compared with the exact ones.

    epochs: of the searches, from the first; None for all.
    """
    fabric = make_fabric(experiments[REFERENCE].fabric)
    followed = {name: Followed(BilevelSearch(experiment, data, fabric)) for name, experiment in experiments.items()}
    reference = BilevelSearch(experiments[REFERENCE], data, fabric)
    settings = experiments[REFERENCE].search
    steps = followed[REFERENCE].search.images.steps_per_epoch
    count = min(epochs or settings.epochs, settings.epochs)
    for epoch in range(count):
        batches = {name: start_epoch(one.search) for name, one in followed.items()}
        for index in range(steps):
            probe = index % max(1, steps // probes) == 0
            for name, one in followed.items():
                torch.manual_seed(stream_seed(experiments[name].seed, "variants", epoch, index))
                train, valid = next(batches[name])
                exact = exact_gradients(reference, one.search, train, valid) if probe else {}
                started = time.perf_counter()
                one.search.step(train, valid)
                if fabric.device.type == "cuda":
                    torch.cuda.synchronize()
                one.seconds.append(time.perf_counter() - started)
                if exact:
                    one.cosines.append(
                        (epoch + index / steps, cosines(gradients(one.search.architecture_step.found), exact))
                    )
        for one in followed.values():
            one.search.state.end_epoch()
        print(f"searches in turn: epoch {epoch + 1} of {count}", flush=True)
    return followed


def start_epoch(search: BilevelSearch) -> Iterator[tuple[Batch, Batch]]:
    """What the search stage does at the start of an epoch."""
    search.start_epoch()
    return search.batches()


def cosines(found: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> dict[str, float]:
    """Of each image objective's gradient with the exact one."""
    names = [name for name in ("accuracy", "robustness") if name in found and found[name].shape == exact[name].shape]
    return {name: F.cosine_similarity(found[name].double(), exact[name].double(), dim=0).item() for name in names}
