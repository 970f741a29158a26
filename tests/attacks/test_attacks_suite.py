import copy
import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, CheckedAttack, EvaluationAttack, evaluation_attack
from attacks.guarded_model import GuardedModel
from tests.support.digits_network import digits

EPS = 24 / 255  # breaks about half of the digits
LINF = [name for name in EVALUATION_ATTACKS if name != "cw"]


def quick(name: str) -> EvaluationAttack:
    """The named attack with few steps and queries, enough to break some images and leave others."""
    known = EVALUATION_ATTACKS[name]
    return replace(known, steps=min(known.steps, 60 if name == "cw" else 4), queries=30)


def quick_attack(name: str, model: nn.Module, **chosen: object) -> CheckedAttack:
    return evaluation_attack(quick(name), model, **{"eps": EPS, **chosen})


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).double().mean().item()


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


class Shifted(nn.Module):
    """Logits moved by a constant, which changes no prediction."""

    def __init__(self, model: nn.Module, shift: float) -> None:
        super().__init__()
        self.model = model
        self.shift = shift

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images) + self.shift


class FewerClasses(nn.Module):
    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model = model
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)[:, : self.classes]


every = pytest.mark.parametrize("name", EVALUATION_ATTACKS)


@every
@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
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


@pytest.mark.parametrize("name", [name for name, attack in EVALUATION_ATTACKS.items() if attack.randomised])
def test_another_seed_gives_another_attack(name, model, batch):
    first, second = (quick_attack(name, model, seed=seed)(*batch) for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", LINF)
@pytest.mark.parametrize("mode", ["train", "mixed"])
def test_images_are_those_of_torchattacks_called_by_hand(name, mode, model, batch):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = by_hand(name, copy.deepcopy(model).eval(), seed=7)(*batch).detach()
    put_in_mode(model, mode)
    assert torch.equal(quick_attack(name, model, seed=7)(*batch), expected)


def test_every_part_of_autoattack_meets_images_that_are_left_to_it(model, batch):
    images, labels = batch
    attacked = evaluation_attack(quick("apgd-ce"), model, eps=EPS)(images, labels)
    assert 0.2 < accuracy(model, attacked, labels) < 0.9


def test_autoattack_breaks_what_any_of_its_parts_breaks(model, batch):
    images, labels = batch
    right = {name: quick_attack(name, model)(images, labels) for name in ("apgd-ce", "autoattack")}
    stands = {name: model(attacked).argmax(1) == labels for name, attacked in right.items()}
    assert not (stands["autoattack"] & ~stands["apgd-ce"]).any()


def test_cw_is_torchattacks_cw_from_pixels_inside_on_logits_of_at_least_zero(model, batch):
    images, labels = batch
    start = images.clamp(1 / 1024, 1 - 1 / 1024)
    smallest = float(model(images).min().detach())
    shifted = Shifted(model, 10 - 3 * smallest).eval()  # at least 0 wherever CW steps
    found = torchattacks.CW(shifted, c=1, kappa=0, steps=60, lr=0.05)(start, labels)
    broken = model(found).argmax(1) != labels
    near = (found - images).flatten(1).norm(dim=1) <= 1.0
    attacked = quick_attack("cw", model, cw_radius=1.0)(images, labels)
    assert 0.1 < (broken & near).double().mean() < 0.9
    assert torch.allclose(attacked[broken & near], found[broken & near], atol=2e-3)
    assert torch.equal(attacked[~(broken & near)], images[~(broken & near)])


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_cw_stays_within_its_radius_and_returns_the_others_unchanged(radius, model, batch):
    images, labels = batch
    attacked = quick_attack("cw", model, cw_radius=radius)(images, labels)
    distance = (attacked - images).flatten(1).norm(dim=1)
    moved = distance > 0
    assert 0 < moved.sum() < len(images)
    assert distance.max() <= radius
    assert distance.max() > 0.8 * radius
    assert (model(attacked).argmax(1)[moved] != labels[moved]).all()


def test_cw_measures_its_radius_from_the_image_itself(model, batch):
    images, labels = batch
    found = quick_attack("cw", model, cw_radius=100.0)(images, labels)
    distance = (found - images).flatten(1).norm(dim=1).median().item()
    just_short = quick_attack("cw", model, cw_radius=distance - 1e-4)(images, labels)
    just_enough = quick_attack("cw", model, cw_radius=distance + 1e-4)(images, labels)
    changed = (just_short != just_enough).flatten(1).any(dim=1)
    assert changed.sum() == 1
    assert torch.equal(just_short[changed], images[changed])
    assert torch.equal(just_enough[changed], found[changed])


def test_cw_returns_images_it_cannot_break_to_the_last_bit(model, batch):
    images, labels = batch
    right = model(images).argmax(1) == labels
    hasty = replace(EVALUATION_ATTACKS["cw"], steps=1)
    attacked = evaluation_attack(hasty, model, cw_radius=100.0)(images, labels)
    assert torch.equal(attacked[right], images[right])


def test_a_wider_cw_radius_breaks_whatever_a_smaller_one_does(model, batch):
    images, labels = batch
    near, far = (quick_attack("cw", model, cw_radius=radius)(images, labels) for radius in (0.5, 1.0))
    moved = (near != images).flatten(1).any(dim=1)
    assert torch.equal(near[moved], far[moved])
    assert accuracy(model, far, labels) < accuracy(model, near, labels)


@pytest.mark.parametrize("shift", [-100.0, 100.0])
def test_cw_does_not_care_about_a_constant_added_to_the_logits(shift, model, batch):
    images, labels = batch
    plain = quick_attack("cw", model, cw_radius=1.0)(images, labels)
    shifted = quick_attack("cw", Shifted(model, shift), cw_radius=1.0)(images, labels)
    assert accuracy(model, shifted, labels) == pytest.approx(accuracy(model, plain, labels), abs=0.04)


def test_cw_moves_pixels_that_are_black_or_white(model):
    images, labels = digits()
    images, labels = images[1400:1432].round(), labels[1400:1432]
    attacked = quick_attack("cw", model, cw_radius=2.0)(images, labels)
    right = model(images).argmax(1) == labels
    assert (attacked[right] != images[right]).flatten(1).any(dim=1).double().mean() > 0.5


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce", "square"])
def test_restarts_break_what_any_start_breaks(name, model, batch):
    images, labels = batch
    once, often = (quick_attack(name, model, eps=0.12, restarts=count)(images, labels) for count in (1, 8))
    stands = [model(attacked).argmax(1) == labels for attacked in (once, often)]
    assert not (stands[1] & ~stands[0]).any()
    assert stands[1].sum() < stands[0].sum()


@pytest.mark.parametrize("name", ["pgd-20", "pgd-100", "apgd-ce", "apgd-t", "square", "autoattack"])
@pytest.mark.parametrize("restarts", [1, 2])
def test_settings_survive_json_and_rebuild_the_same_attack(name, restarts, model, batch):
    attack = quick_attack(name, model, restarts=restarts, seed=5)
    attacked = attack(*batch)
    settings = json.loads(json.dumps(attack.settings))
    assert settings == attack.settings
    parts = [getattr(torchattacks, part["class"])(model, **part["arguments"]) for part in settings["attacks"]]
    rebuilt = parts[0] if len(parts) == 1 else torchattacks.MultiAttack(parts)
    with torch.random.fork_rng():
        torch.manual_seed(settings["seed"])
        assert torch.equal(rebuilt(*batch).detach(), attacked)


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


@every
def test_a_model_can_be_attacked_under_autocast(name, model, batch):
    images, labels = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attacked = quick_attack(name, model)(images, labels)
    assert attacked.dtype == torch.float32
    assert accuracy(model, attacked, labels) <= accuracy(model, images, labels)


@every
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_an_attack_finds_gradients_where_the_caller_turned_them_off(name, off, model, batch):
    expected = quick_attack(name, model)(*batch)
    with off():
        images, labels = (tensor.clone() for tensor in batch)
        assert torch.equal(quick_attack(name, model)(images, labels), expected)


@every
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda x: x * 2.64,
            r"expected images in \[0, 1\], found a maximum of 2.64; put normalisation inside the netw",
        ),
        (lambda x: torch.where(x > 0.9, torch.nan, x), "found a maximum of nan"),
        (lambda x: x[:, 0], r"expected images \[N, C, H, W\]"),
    ],
)
def test_images_that_mean_something_else_are_refused(name, spoil, message, model, batch):
    images, labels = batch
    with pytest.raises(ValueError, match=message):
        evaluation_attack(name, model)(spoil(images), labels)


@every
def test_labels_beyond_the_models_logits_are_refused(name, model, batch):
    images, labels = batch
    with pytest.raises(ValueError, match=r"expected labels in \[0, 9\] for 10 logits, found 10"):
        evaluation_attack(name, model)(images, labels + 1)


class RootOfZero(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + 0 * (images - images.detach()).sqrt()


@pytest.mark.parametrize("name", [name for name in EVALUATION_ATTACKS if name != "square"])
def test_a_model_whose_gradient_is_nan_does_not_look_robust(name, model, batch):
    with pytest.raises(FloatingPointError, match="expected finite gradients"):
        quick_attack(name, nn.Sequential(RootOfZero(), model))(*batch)


@pytest.mark.parametrize("pixel", [0.5, torch.nan])
def test_a_nan_gradient_is_the_models_fault_only_where_the_images_are_finite(pixel, batch):
    _, labels = batch
    guarded = GuardedModel(nn.Sequential(RootOfZero(), nn.Flatten()), torch.rand(32, 1, 8, 8), labels)
    guarded.unseen = False
    guarded(torch.full((32, 1, 8, 8), pixel, requires_grad=True)).sum().backward()
    with nullcontext() if math.isnan(pixel) else pytest.raises(FloatingPointError):
        guarded.check_gradients()


def test_a_dead_network_is_attacked_in_vain_and_is_no_error(batch):
    dead = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    nn.init.constant_(dead[0].bias, -100)
    images, _ = batch
    attacked = quick_attack("autoattack", dead)(images, dead(images).argmax(1))
    assert torch.equal(attacked, images)


@pytest.mark.parametrize("name", ["apgd-t", "autoattack"])
@pytest.mark.parametrize("classes", [2, 3])
def test_targeted_losses_refuse_fewer_than_four_classes_and_name_the_others(name, classes, model):
    with pytest.raises(
        ValueError, match=r"num_classes >= 4 .* attacked with fgsm, pgd-20, pgd-20-targeted, pgd-100, apgd"
    ):
        evaluation_attack(name, FewerClasses(model, classes), num_classes=classes)


@every
@pytest.mark.parametrize("classes", [2, 4])
def test_few_classes_can_be_attacked_where_the_loss_allows(name, classes, model):
    images, labels = digits()
    few = images[labels < classes][:20], labels[labels < classes][:20]
    if classes >= EVALUATION_ATTACKS[name].least_classes:
        narrow = FewerClasses(model, classes)
        attacked = quick_attack(name, narrow, eps=0.3, cw_radius=3.0, num_classes=classes)(*few)
        assert accuracy(narrow, attacked, few[1]) < accuracy(narrow, *few)


@pytest.mark.parametrize("name", ["pgd-20-targeted", "apgd-t", "autoattack"])
def test_targeted_attacks_refuse_another_number_of_logits(name, model, batch):
    with pytest.raises(ValueError, match="expected 100 logits, found 10; pass num_classes=10"):
        evaluation_attack(name, model, num_classes=100)(*batch)


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("pgd-20", {"eps": 0.0}, r"expected 0 < eps <= 1 in Linf, found 0.0"),
        ("pgd-20", {"eps": 8}, "found 8; pixels lie in"),
        ("square", {"eps": math.nan}, "found nan"),
        ("cw", {"cw_radius": 0.0}, "expected 0 < eps <= inf in L2, found 0.0"),
        ("pgd-20", {"restarts": 0}, "expected restarts >= 1, found 0"),
        ("fgsm", {"restarts": 2}, "expected restarts=1 for fgsm, found 2"),
        ("cw", {"restarts": 2}, "expected restarts=1 for cw, found 2"),
        ("fgsm", {"num_classes": 1}, "expected num_classes >= 2 for fgsm, found 1"),
        ("fgsm", {"norm": "L2"}, "expected norm Linf for fgsm, found L2; attacks in L2 are pgd-20, .*autoattack"),
        ("pgd-7", {}, "expected an evaluation attack out of fgsm, pgd-20, .*, found 'pgd-7'"),
    ],
)
def test_names_and_numbers_outside_their_domain_are_refused(name, chosen, message, model):
    with pytest.raises(ValueError, match=message):
        evaluation_attack(name, model, **chosen)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected steps >= 1 and queries >= 1, found 0 and 5000"):
        replace(EVALUATION_ATTACKS["pgd-20"], steps=0)


L2 = 0.5  # breaks about half of the digits
in_l2 = pytest.mark.parametrize("name", [name for name in EVALUATION_ATTACKS if name != "fgsm"])


@in_l2
def test_in_l2_images_stay_in_the_ball_and_some_reach_its_surface(name, model, batch):
    images, labels = batch
    attacked = quick_attack(name, model, eps=L2, norm="L2")(images, labels)
    distance = (attacked - images).flatten(1).norm(dim=1)
    reached = 0.5 if name == "cw" else 0.9  # CW goes no further than an image needs
    assert reached * L2 < distance.max() <= L2 * (1 + 1e-5)
    assert (attacked - images).abs().max() > 1.5 * EPS  # no ball in Linf
    assert attacked.min() >= 0
    assert attacked.max() <= 1


@in_l2
def test_in_l2_accuracy_falls_with_the_radius_to_about_nothing(name, model, batch):
    images, labels = batch
    left = [
        accuracy(model, quick_attack(name, model, eps=eps, norm="L2")(images, labels), labels) for eps in (0.1, L2, 6.0)
    ]
    assert left[0] > left[1] > left[2]
    assert left[0] > 0.8
    assert left[2] <= 0.15


def test_in_l2_images_are_those_of_torchattacks_called_by_hand(model, batch):
    rest = {"norm": "L2", "eps": L2, "steps": 4, "seed": 7}
    made = {
        "pgd-20": torchattacks.PGDL2(model, eps=L2, alpha=L2 / 4, steps=4),
        "apgd-ce": torchattacks.APGD(model, loss="ce", **rest),
        "apgd-t": torchattacks.APGDT(model, n_classes=10, **rest),
        "square": torchattacks.Square(model, norm="L2", eps=L2, n_queries=30, seed=7),
    }
    for name, by_hand_in_l2 in made.items():
        with torch.random.fork_rng():
            torch.manual_seed(7)
            expected = by_hand_in_l2(*batch).detach()
        attack = quick_attack(name, model, eps=L2, norm="L2", seed=7)
        assert torch.equal(attack(*batch), expected), name
        assert attack.settings["norm"] == "L2"


def test_in_l2_cw_counts_at_eps(model, batch):
    in_linf = quick_attack("cw", model, cw_radius=2 * L2)(*batch)
    assert torch.equal(quick_attack("cw", model, eps=2 * L2, norm="L2", cw_radius=0.1)(*batch), in_linf)


def test_a_model_in_channels_last_can_be_attacked_in_l2(batch):
    images, _ = batch
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()
    model = model.to(memory_format=torch.channels_last)
    colour = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    attacked = quick_attack("pgd-20", model, eps=L2, norm="L2")(colour, model(colour).argmax(1))
    assert (attacked - colour).flatten(1).norm(dim=1).max() > 0.9 * L2


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


@pytest.mark.parametrize(
    ("levels", "eps", "steps", "queries"),
    [*AUTOATTACK_CASES, pytest.param(None, 0.08, 100, 5000, marks=pytest.mark.slow)],
)
def test_autoattack_breaks_the_images_that_its_parts_break_run_one_by_one(levels, eps, steps, queries, model, many):
    images, labels = many
    attacked_model = Rounded(model, levels).eval() if levels else model
    budget = replace(EVALUATION_ATTACKS["autoattack"], steps=steps, queries=queries)
    attacked = evaluation_attack(budget, attacked_model, eps=eps, seed=7)(images, labels)
    with torch.no_grad():
        broken = attacked_model(attacked).argmax(1) != labels
    assert 0 < broken.sum() < len(images)
    expected, _ = broken_part_by_part(Recorded(attacked_model).eval(), images, labels, eps, steps, queries)
    assert torch.equal(broken, expected)


def test_each_part_of_autoattack_breaks_an_image_that_those_before_did_not(model, many):
    falls = torch.zeros(4, dtype=torch.long)
    for levels, *budget in AUTOATTACK_CASES:
        attacked_model = Rounded(model, levels) if levels else model
        falls += torch.tensor(broken_part_by_part(Recorded(attacked_model).eval(), *many, *budget)[1])
    assert falls.min() > 0, falls
