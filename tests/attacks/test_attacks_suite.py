"""What every attack of an evaluation keeps: the model, the radius, the seed, and the images of torchattacks."""

import copy
import json

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, evaluation_attack
from tests.support.optimization.quick_attacks import EPS, LEAVE, accuracy, but_autoattack, every, fallen, quick_attack
from tests.support.slowly import slowly

LINF = [name for name in EVALUATION_ATTACKS if name != "cw"]


def by_hand(name: str, model: nn.Module, seed: int) -> torchattacks.attack.Attack:
    rest = {"eps": EPS, "steps": 4, "seed": seed}
    made = {
        "fgsm": lambda: torchattacks.FGSM(model, eps=EPS),
        "pgd-20": lambda: torchattacks.PGD(model, eps=EPS, alpha=EPS / 4, steps=4),
        "pgd-20-targeted": lambda: targeted_by_hand(model),
        "pgd-100": lambda: torchattacks.PGD(model, eps=EPS, alpha=EPS / 4, steps=4),
        "apgd-ce": lambda: torchattacks.APGD(model, loss="ce", **rest),
        "apgd-t": lambda: torchattacks.APGDT(model, n_classes=10, **rest),
        "square": lambda: torchattacks.Square(model, eps=EPS, n_queries=30, seed=seed),
        "autoattack": lambda: autoattack_by_hand(model, seed),
    }
    return made[name]()


def targeted_by_hand(model: nn.Module) -> torchattacks.MultiAttack:
    """PGD at the likeliest class after the label, then at the next, and so on."""

    def aim(rank: int):
        def target(images: Tensor, labels: Tensor) -> Tensor:
            order = model(images).argsort(dim=1, descending=True)
            return order[order != labels[:, None]].view(len(labels), -1)[:, rank]

        return target

    parts = []
    for rank in range(9):
        part = torchattacks.PGD(model, eps=EPS, alpha=EPS / 4, steps=4)
        part.set_mode_targeted_by_function(aim(rank), quiet=True)
        parts.append(part)
    return torchattacks.MultiAttack(parts)


def autoattack_by_hand(model: nn.Module, seed: int) -> torchattacks.AutoAttack:
    attack = torchattacks.AutoAttack(model, eps=EPS, n_classes=10, seed=seed)
    for part in attack._autoattack.attacks[:3]:
        assert part.steps == 10  # torchattacks' own budget, a tenth of the published one
        part.steps = 4
    attack._autoattack.attacks[3].n_queries = 30
    return attack


def everything_in(model: nn.Module) -> list[object]:
    tensors = [*model.parameters(), *model.buffers()]
    return [
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [id(tensor) for tensor in tensors],
        [tensor.detach().tolist() for tensor in tensors],
        [None if p.grad is None else (id(p.grad), p.grad.tolist()) for p in model.parameters()],
    ]


def put_in_mode(model: nn.Sequential, mode: str) -> None:
    model.train(mode != "eval")
    if mode == "mixed":
        model[1].eval()
        model[7].eval()
        model[0].weight.requires_grad_(False)
        model[8].weight.grad = torch.ones_like(model[8].weight)


@every
@pytest.mark.parametrize("mode", [*slowly("train", "eval"), "mixed"])
def test_an_attack_leaves_the_model_unchanged(name, mode, model, batch):
    put_in_mode(model, mode)
    before = everything_in(model)
    quick_attack(name, model)(*batch)
    assert everything_in(model) == before


@pytest.mark.parametrize("name", LINF)
def test_attacked_images_are_images_within_eps_and_detached(name, model, batch):
    images, labels = batch
    attacked = quick_attack(name, model)(images.clone().requires_grad_(), labels)
    moved = (attacked - images).abs()
    assert 0.9 * EPS < moved.max() <= EPS + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad


@every
def test_accuracy_falls_to_about_nothing_in_a_large_ball(name, model, batch):
    images, labels = batch
    attacked = quick_attack(name, model, eps=0.4, cw_radius=4.0)(images, labels)
    assert accuracy(model, attacked, labels) <= 0.1 < 0.9 < accuracy(model, images, labels)


@every
def test_the_seed_alone_decides_and_the_callers_random_state_is_kept(name, model, batch):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = quick_attack(name, model, seed=7)(*batch)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert torch.equal(quick_attack(name, model, seed=7)(*batch), first)


@pytest.mark.parametrize(
    "name", but_autoattack(name for name, attack in EVALUATION_ATTACKS.items() if attack.randomised)
)
def test_another_seed_gives_another_attack(name, model, batch):
    first, second = (quick_attack(name, model, seed=seed)(*batch) for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", LINF)
@pytest.mark.parametrize("mode", [*slowly("train"), "mixed"])
def test_images_are_those_of_torchattacks_called_by_hand(name, mode, model, batch):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = by_hand(name, copy.deepcopy(model).eval(), seed=7)(*batch).detach()
    put_in_mode(model, mode)
    found = quick_attack(name, model, seed=7)(*batch)
    assert_same_verdict(name, model.eval(), batch[1], found, expected)


def assert_same_verdict(name: str, model: nn.Module, labels: Tensor, found: Tensor, expected: Tensor) -> None:
    """The same images, or of attacks whose images leave the same fallen ones, and the same others."""
    if name not in LEAVE:
        assert torch.equal(found, expected)
        return
    fell = fallen(model, expected, labels)
    assert 0 < fell.sum() < len(fell)
    assert torch.equal(fallen(model, found, labels), fell)
    assert torch.equal(found[~fell], expected[~fell])


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce", "square"])
def test_restarts_break_what_any_start_breaks(name, model, batch):
    images, labels = batch
    once, often = (quick_attack(name, model, eps=0.12, restarts=count)(images, labels) for count in (1, 8))
    stands = [model(attacked).argmax(1) == labels for attacked in (once, often)]
    assert not (stands[1] & ~stands[0]).any()
    assert stands[1].sum() < stands[0].sum()


@pytest.mark.parametrize("name", ["pgd-20", "pgd-100", "apgd-ce", "apgd-t", "square", *slowly("autoattack")])
@pytest.mark.parametrize("restarts", [*slowly(1), 2])
def test_settings_survive_json_and_rebuild_the_same_attack(name, restarts, model, batch):
    attack = quick_attack(name, model, restarts=restarts, seed=5)
    attacked = attack(*batch)
    settings = json.loads(json.dumps(attack.settings))
    assert settings == attack.settings
    parts = [getattr(torchattacks, part["class"])(model, **part["arguments"]) for part in settings["attacks"]]
    rebuilt = parts[0] if len(parts) == 1 else torchattacks.MultiAttack(parts)
    with torch.random.fork_rng():
        torch.manual_seed(settings["seed"])
        assert_same_verdict(name, model, batch[1], attacked, rebuilt(*batch).detach())


def test_changing_the_settings_shown_does_not_change_the_attack(model):
    attack = evaluation_attack("pgd-20", model)
    attack.settings["attacks"][0]["arguments"]["steps"] = 1
    assert attack.settings["attacks"][0]["arguments"]["steps"] == 20


def test_the_budgets_are_those_published(model):
    def parts(name: str) -> dict[str, dict[str, object]]:
        settings = evaluation_attack(name, model, num_classes=100, seed=3).settings
        assert (settings["eps"], settings["norm"]) == ((0.5, "L2") if name == "cw" else (8 / 255, "Linf"))
        assert (settings["version"], settings["seed"]) == ("3.5.1", 3)
        return {part["class"]: part["arguments"] for part in settings["attacks"]}

    seeded = {"norm": "Linf", "eps": 8 / 255, "n_restarts": 1, "seed": 3}
    apgd = {**seeded, "steps": 100, "loss": "ce"}
    targeted = {**seeded, "steps": 100, "n_classes": 10}
    square = {**seeded, "n_queries": 5000}
    pgd = {"eps": 8 / 255, "alpha": 2 / 255, "random_start": True}
    assert parts("fgsm") == {"FGSM": {"eps": 8 / 255}}
    assert parts("pgd-20") == {"PGD": {**pgd, "steps": 20}}
    aimed = evaluation_attack("pgd-20-targeted", model, num_classes=100).settings["attacks"]
    assert aimed == [{"class": "PGD", "arguments": {**pgd, "steps": 20}, "target": rank} for rank in range(1, 10)]
    assert parts("pgd-100") == {"PGD": {**pgd, "steps": 100}}
    assert parts("apgd-ce") == {"APGD": apgd}
    assert parts("apgd-t") == {"APGDT": targeted}
    assert parts("cw") == {"CW": {"c": 1.0, "kappa": 0.0, "steps": 200, "lr": 0.05}}
    assert parts("square") == {"Square": square}
    assert parts("autoattack") == {
        "APGD": apgd,
        "APGDT": targeted,
        "FAB": {**targeted, "multi_targeted": True},
        "Square": square,
    }


def test_the_attacks_have_these_names_in_this_order():
    names = ["fgsm", "pgd-20", "pgd-20-targeted", "pgd-100", "apgd-ce", "apgd-t", "cw", "square", "autoattack"]
    assert list(EVALUATION_ATTACKS) == names
    assert [attack.label for attack in EVALUATION_ATTACKS.values()] == names


@every
@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_batch_and_a_single_image_can_be_attacked(name, count, model, batch):
    images, labels = batch
    attacked = quick_attack(name, model)(images[:count], labels[:count])
    assert attacked.shape == (count, 1, 8, 8)


@every
def test_images_already_misclassified_can_be_attacked(name, model, batch):
    images, labels = batch
    wrong = (labels + (model(images).argmax(1) == labels)) % 10
    attacked = quick_attack(name, model)(images, wrong)
    assert accuracy(model, attacked, wrong) < 0.2


@every
def test_float64_is_kept_or_refused(name, model, batch):
    images, labels = batch
    attack = quick_attack(name, model.double())
    if name == "autoattack":
        with pytest.raises(ValueError, match=r"expected float32 images for autoattack, found torch.float64"):
            attack(images.double(), labels)
    else:
        assert attack(images.double(), labels).dtype == torch.float64


@pytest.mark.parametrize("name", but_autoattack())
def test_a_model_can_be_attacked_under_autocast(name, model, batch):
    images, labels = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attacked = quick_attack(name, model)(images, labels)
    assert attacked.dtype == torch.float32
    assert accuracy(model, attacked, labels) <= accuracy(model, images, labels)


@pytest.mark.parametrize("name", but_autoattack())
@pytest.mark.parametrize("off", [*slowly(torch.no_grad), torch.inference_mode])
def test_an_attack_finds_gradients_where_the_caller_turned_them_off(name, off, model, batch):
    expected = quick_attack(name, model)(*batch)
    with off():
        images, labels = (tensor.clone() for tensor in batch)
        assert torch.equal(quick_attack(name, model)(images, labels), expected)
