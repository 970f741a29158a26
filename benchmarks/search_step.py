"""Time of a whole search step, plain against fused, on the same weights and batches.

    python benchmarks/search_step.py                       # both settings, first order and unrolled, PGD-7
    python benchmarks/search_step.py --settings small --repeats 5
    python benchmarks/search_step.py --settings paper --orders first  # the published search, projected

Plain: benchmarks/plain_supernet.py, torchattacks and autograd by hand, as most DARTS code is. Project: what a search
runs. Both run in turn in one process: medians and their ratio. Then the relative distance of each objective's gradient
in alpha, and of the weights', from the plain step's in float64: in float32 on the same attacked images, medians over
batches, and the project's in float64, attack included. Rounding takes an activation across a kink of ReLU or of max
pooling now and then, in either step, and one such activation moves a gradient by about 1e-3.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torchattacks
from plain_supernet import PlainSupernet, copy_weights, fused_order
from record import machine, table
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from pipeline.search.hypergradient import exact_product, first_order, unrolled
from pipeline.settings import AttackSettings
from pipeline.training.steps import attack_of_settings
from search_space import SearchSpace, Supernet

EPS, STEP, STEPS, RATE = 8 / 255, 2 / 255, 7, 0.025


@dataclass(frozen=True)
class Setting:
    """Supernet and batch of a measurement."""

    channels: int
    layers: int
    size: int
    batch: int


SETTINGS = {"small": Setting(8, 5, 16, 32), "cifar": Setting(16, 8, 32, 16), "paper": Setting(16, 8, 32, 64)}
PAPER_STEPS = 50 * (25_000 // 64)  # of experiment=paper: epochs, and steps on the half of CIFAR-10 that trains weights


@dataclass(frozen=True)
class Case:
    """A row of the tables."""

    setting: str
    order: str
    attack: str

    @property
    def sizes(self) -> Setting:
        """Of the supernet and the batch."""
        return SETTINGS[self.setting]

    def __str__(self) -> str:
        return f"{self.setting} | {self.order} | {self.attack}"


Batch = tuple[Tensor, Tensor]
Gradients = tuple[dict[str, Tensor], list[Tensor]]
Attack = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Batch, Batch], Gradients]


def plain_step(model: PlainSupernet, order: str, attack: Attack) -> Step:
    """Gradients of both objectives in alpha, and of the weights on attacked images, written from the papers."""
    weights = model.weights()

    def objectives(valid: Batch, inputs: list[Tensor]) -> dict[str, Tensor]:
        images, labels = valid
        losses = {}
        for name in ("accuracy", "robustness"):
            tried = images if name == "accuracy" else attack(images, labels)
            losses[name] = grad(F.cross_entropy(model(tried), labels), inputs)
        return losses

    def step(train: Batch, valid: Batch) -> Gradients:
        images, labels = train
        if order == "first":
            alphas = {name: found[0] for name, found in objectives(valid, [model.alphas]).items()}
        else:
            alphas = unrolled_by_hand(train, valid)
        loss = F.cross_entropy(model(attack(images, labels)), labels)
        return alphas, list(grad(loss, weights))

    def unrolled_by_hand(train: Batch, valid: Batch) -> dict[str, Tensor]:
        attacked, labels = attack(*train), train[1]
        slopes = grad(F.cross_entropy(model(attacked), labels), weights)
        before = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= RATE * slope
        at_step = objectives(valid, [model.alphas, *weights])
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
        slopes = grad(F.cross_entropy(model(attacked), labels), weights, create_graph=True)
        return {
            name: direct - RATE * grad(slopes, [model.alphas], vector, retain_graph=True)[0]
            for name, (direct, *vector) in at_step.items()
        }

    return step


def project_step(model: Supernet, order: str, attack: Attack) -> Step:
    """The same gradients by the functions that a search runs."""
    weights = model.weights()

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    def step(train: Batch, valid: Batch) -> Gradients:
        losses = {
            "accuracy": lambda: loss(*valid),
            "robustness": lambda: loss(attack(*valid), valid[1]),
        }
        if order == "first":
            found = first_order(losses, model.alphas, list, weights=weights)
        else:
            attacked = attack(*train)
            found = unrolled(
                losses,
                lambda: loss(attacked, train[1]),
                weights,
                model.alphas,
                step_size=RATE,
                drift=[torch.zeros_like(weight) for weight in weights],
                product=exact_product,
                reduce=list,
            )
        alphas = {name: result.gradient for name, result in found.items()}
        return alphas, list(grad(loss(attack(*train), train[1]), weights))

    return step


def build(
    setting: Setting, dtype: torch.dtype, device: str | torch.device, seed: int = 0, space: SearchSpace | None = None
) -> tuple[PlainSupernet, Supernet, Batch, Batch]:
    """Both supernets with the same weights, and two batches; space: DARTS's by default."""
    torch.manual_seed(seed)
    space = space or SearchSpace()
    sizes = {"channels": setting.channels, "layers": setting.layers, "num_classes": 10, "in_channels": 3}
    plain = PlainSupernet(space, **sizes).to(device, dtype)
    fused = Supernet(space, **sizes).to(device, dtype).to(memory_format=torch.channels_last)
    copy_weights(plain, fused)

    def batch() -> Batch:
        images = torch.rand(setting.batch, 3, setting.size, setting.size, dtype=dtype, device=device)
        return images, torch.randint(10, (setting.batch,), device=device)

    return plain, fused, batch(), batch()


def attacks(name: str, plain: nn.Module, fused: nn.Module) -> tuple[Attack, Attack]:
    """By torchattacks alone, and as a search runs it."""
    if name == "fgsm":
        return torchattacks.FGSM(plain, eps=EPS), attack_of_settings(fused, AttackSettings(name="fgsm", eps=EPS))
    by_hand = torchattacks.PGD(plain, eps=EPS, alpha=STEP, steps=STEPS)
    return by_hand, attack_of_settings(fused, AttackSettings(eps=EPS, step=STEP, steps=STEPS))


def vectors(plain: PlainSupernet, fused: Supernet, found: Gradients, of_plain: bool) -> list[Tensor]:
    """Each alpha gradient and the weight gradient as one vector, in the order of the fused supernet, in float64."""
    alphas, weights = found
    if of_plain:
        slopes = dict(zip(plain.weights(), weights, strict=True)) | {plain.alphas: torch.zeros_like(plain.alphas)}
        joined = fused_order(plain, fused, slopes)
        weights = [joined[weight] for weight in fused.weights()]
    return [slope.double().flatten() for slope in (*alphas.values(), torch.cat([w.flatten() for w in weights]))]


def distances(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    """The relative one of each gradient."""
    return [((f - e).norm() / e.norm()).item() for f, e in zip(found, expected, strict=True)]


class Remembered:
    """Attacked images of batches, told apart by their labels, in the precision asked for."""

    def __init__(self, attack: Attack, batches: Sequence[Batch]) -> None:
        self.attacked = [(labels, attack(images, labels)) for images, labels in batches]

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """What the attack made of them."""
        return next(attacked for known, attacked in self.attacked if torch.equal(known, labels)).to(images.dtype)


def single_distances(case: Case, device: str, batches: int) -> list[list[float]]:
    """Of each gradient of the plain and the project step, float32 from float64, on images attacked once; medians."""
    kept: list[list[list[float]]] = []
    for seed in range(batches):
        plain, fused, train, valid = build(case.sizes, torch.float32, device, seed)
        attacked = Remembered(attacks(case.attack, plain, fused)[0], (train, valid))
        found = [
            vectors(plain, fused, plain_step(plain, case.order, attacked)(train, valid), True),
            vectors(plain, fused, project_step(fused, case.order, attacked)(train, valid), False),
        ]
        doubles = [(images.double(), labels) for images, labels in (train, valid)]
        expected = vectors(plain, fused, plain_step(plain.double(), case.order, attacked)(*doubles), True)
        kept.append([distances(one, expected) for one in found])
    return [[statistics.median(of_batch) for of_batch in zip(*one, strict=True)] for one in zip(*kept, strict=True)]


def double_distances(case: Case, device: str) -> list[float]:
    """Of each gradient of the whole project step from the plain one, attack included, in float64."""
    plain, fused, train, valid = build(case.sizes, torch.float64, device)
    by_hand, ours = attacks(case.attack, plain, fused)
    torch.manual_seed(1)
    expected = vectors(plain, fused, plain_step(plain, case.order, by_hand)(train, valid), True)
    torch.manual_seed(1)
    return distances(vectors(plain, fused, project_step(fused, case.order, ours)(train, valid), False), expected)


def medians(case: Case, repeats: int, device: str) -> tuple[float, float]:
    """Seconds of a plain and of a project step, in turn."""
    plain, fused, train, valid = build(case.sizes, torch.float32, device)
    by_hand, ours = attacks(case.attack, plain, fused)
    steps = (plain_step(plain, case.order, by_hand), project_step(fused, case.order, ours))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for step, kept in zip(steps, seconds, strict=True):
            started = time.perf_counter()
            step(train, valid)
            if device == "cuda":
                torch.cuda.synchronize()
            kept.append(time.perf_counter() - started)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def peak_memory() -> str:
    """Of the process on the CPU, of PyTorch's allocator on a GPU."""
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["small", "cifar"])
    parser.add_argument("--orders", nargs="+", choices=("first", "unrolled"), default=["first", "unrolled"])
    parser.add_argument("--attacks", nargs="+", choices=("pgd-7", "fgsm"), default=["pgd-7"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, default=3, help="of the distances in float32; 0 for no distances")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cases = [Case(*case) for case in product(arguments.settings, arguments.orders, arguments.attacks)]
    print(f"{machine()}. Medians of {arguments.repeats} steps after one that does not count.\n")
    print(table(["setting", "order", "attack", "plain s", "project s", "ratio"], []), flush=True)
    for case in cases:
        plain, project = medians(case, arguments.repeats, device)
        print(f"| {case} | {plain:.2f} | {project:.2f} | {plain / project:.2f} |", flush=True)
        if case.setting == "paper":
            print(f"\nexperiment=paper at this speed: {PAPER_STEPS * project / 3600:.2f} h, {PAPER_STEPS:,} steps\n")
    print(f"\nPeak memory, of both together: {peak_memory()}. Distances from the plain step in float64:\n")
    header = ["setting", "order", "attack", "gradient", "plain float32", "project float32", "project float64"]
    print(table(header, []), flush=True)
    for case in cases if arguments.batches else ():
        columns = (*single_distances(case, device, arguments.batches), double_distances(case, device))
        for name, *figures in zip(("accuracy", "robustness", "weights"), *columns, strict=True):
            print(f"| {case} | {name} | " + " | ".join(f"{figure:.1e}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
