"""AutoAttack breaks what its parts break, each on the images that those before left."""

from dataclasses import replace
from functools import cache

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, evaluation_attack
from tests.support.images.digits_network import digits
from tests.support.optimization.quick_attacks import EPS, accuracy, quick, quick_attack


def test_every_part_of_autoattack_meets_images_that_are_left_to_it(model, batch):
    images, labels = batch
    attacked = evaluation_attack(quick("apgd-ce"), model, eps=EPS)(images, labels)
    assert 0.2 < accuracy(model, attacked, labels) < 0.9


def test_autoattack_breaks_what_any_of_its_parts_breaks(model, batch):
    images, labels = batch
    right = {name: quick_attack(name, model)(images, labels) for name in ("apgd-ce", "autoattack")}
    stands = {name: model(attacked).argmax(1) == labels for name, attacked in right.items()}
    assert not (stands["autoattack"] & ~stands["apgd-ce"]).any()


def test_targets_break_what_only_another_direction_breaks(model, batch):
    images, labels = batch
    settings = {"eps": 0.09, "seed": 3}
    once, aimed = (quick_attack(name, model, **settings)(images, labels) for name in ("pgd-20", "pgd-20-targeted"))
    assert accuracy(model, aimed, labels) < accuracy(model, once, labels)
    first = evaluation_attack(quick("pgd-20-targeted"), model, eps=EPS, num_classes=2).settings["attacks"]
    assert [part["target"] for part in first] == [1]  # of two classes one is wrong


class Recorded(nn.Module):
    """Counts nothing and changes nothing; torchattacks wants a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


class Rounded(nn.Module):
    """Rounds images to levels, so that gradients are 0 and say nothing: what only Square gets through."""

    def __init__(self, model: nn.Module, levels: int) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, images: Tensor) -> Tensor:
        return self.model((images * self.levels).round() / self.levels)


def broken_part_by_part(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, steps: int, queries: int
) -> tuple[Tensor, list[int]]:
    """AutoAttack read from its paper: APGD-CE, APGD-T, FAB-T and Square, each on what still stands.

    -> [N] booleans, and how many images each part broke that those before had not.
    """
    rest = {"norm": "Linf", "eps": eps, "n_restarts": 1, "seed": 7}
    parts = [
        torchattacks.APGD(model, loss="ce", steps=steps, **rest),
        torchattacks.APGDT(model, n_classes=10, steps=steps, **rest),
        torchattacks.FAB(model, n_classes=10, multi_targeted=True, steps=steps, **rest),
        torchattacks.Square(model, n_queries=queries, **rest),
    ]
    standing = torch.arange(len(images))
    falls = []
    for part in parts:
        attacked = part(images[standing], labels[standing]).detach()
        right = model(attacked).argmax(1) == labels[standing]
        falls.append(len(standing) - int(right.sum()))
        standing = standing[right]
    broken = torch.ones(len(images), dtype=torch.bool)
    broken[standing] = False
    return broken, falls


@pytest.fixture(scope="session")
def many() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[1400:], labels[1400:]


# levels of rounding (None: no rounding), eps, steps, queries: together they need every part
AUTOATTACK_CASES = [(None, 0.07, 1, 30), (None, 0.07, 2, 30), (None, 0.08, 2, 30), (8, 0.07, 2, 30)]


@pytest.fixture(scope="module")
def part_by_part(trained, many):
    """What the parts break one by one, found once for each case."""

    @cache
    def of(levels: int | None, *budget: float) -> tuple[Tensor, list[int]]:
        attacked_model = Rounded(trained, levels) if levels else trained
        return broken_part_by_part(Recorded(attacked_model).eval(), *many, *budget)

    return of


@pytest.mark.parametrize(
    ("levels", "eps", "steps", "queries"),
    [*AUTOATTACK_CASES, pytest.param(None, 0.08, 100, 5000, marks=pytest.mark.slow)],
)
def test_autoattack_breaks_the_images_that_its_parts_break_run_one_by_one(
    levels, eps, steps, queries, model, many, part_by_part
):
    images, labels = many
    attacked_model = Rounded(model, levels).eval() if levels else model
    budget = replace(EVALUATION_ATTACKS["autoattack"], steps=steps, queries=queries)
    attacked = evaluation_attack(budget, attacked_model, eps=eps, seed=7)(images, labels)
    with torch.no_grad():
        broken = attacked_model(attacked).argmax(1) != labels
    assert 0 < broken.sum() < len(images)
    assert torch.equal(broken, part_by_part(levels, eps, steps, queries)[0])


def test_each_part_of_autoattack_breaks_an_image_that_those_before_did_not(part_by_part):
    falls = sum(torch.tensor(part_by_part(*case)[1]) for case in AUTOATTACK_CASES)
    assert falls.min() > 0, falls
