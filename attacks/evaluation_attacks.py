"""Named evaluation attacks: each a fixed budget, a function of its seed, with the settings that repeat it.

They presume that each image is classified by itself, as with running BatchNorm statistics: most of them go on with the
images not yet broken, and a model that normalises with the batch would then see another batch. So an image that no part
breaks is returned as it was, except by FGSM and by PGD without restarts, whose images can be tried on another model.
"""

from torch import nn

from attacks.bounded_cw import bounded_cw
from attacks.checked import CheckedAttack
from attacks.registry import EVALUATION_ATTACKS, EvaluationAttack
from attacks.spec import AttackSpec, Norm, Part
from on_demand import chosen

_PUBLISHED_TARGETS = 9  # of APGD-T and FAB-T in the standard AutoAttack, for any number of classes
_CLASSES_IN_L2 = {"PGD": "PGDL2"}  # the others take the norm as an argument


def evaluation_attack(
    name: str | EvaluationAttack,
    model: nn.Module,
    *,
    eps: float = 8 / 255,
    norm: Norm = "Linf",
    num_classes: int = 10,
    restarts: int = 1,
    seed: int = 0,
    cw_radius: float = 0.5,
    draws: int = 1,
) -> CheckedAttack:
    """Return the attack `name` of EVALUATION_ATTACKS, or one described by hand, on `model`.

    eps: radius in `norm`, for Linf 0 < eps <= 1; PGD's step is eps / 4, so 2/255 at 8/255.
    norm: "fgsm" is an attack in Linf alone.
    num_classes: the model's logits; used by attacks that aim at the 9 likeliest wrong classes: "pgd-20-targeted",
    "apgd-t" and "autoattack".
    restarts: random starts, of which any may break an image ("fgsm" and "cw" have none).
    seed: the attacked images of a batch depend on it alone, and the caller's random state is kept.
    cw_radius: "cw" looks for the nearest error in L2, however far: an image counts as broken where it was found within
    this radius, and is returned unchanged where not. Compare it with L2 figures of this radius; in L2 it is eps.
    draws: of a model that draws at random, passes over which its logits are averaged in every step (EOT).
    ValueError if a name or number is not one of these.
    """
    attack = _look_up(name)
    _check(attack, norm, num_classes, restarts)
    if attack.classes == ("CW",):
        radius = eps if norm == "L2" else cw_radius
        return bounded_cw(attack.label, model, radius=radius, steps=attack.steps, seed=seed, draws=draws)
    parts = tuple(
        part
        for class_name in attack.classes
        for part in _parts(
            class_name, attack, eps=eps, norm=norm, num_classes=num_classes, restarts=restarts, seed=seed
        )
    )
    used_classes = num_classes if attack.targeted or "APGDT" in attack.classes else None
    spec = AttackSpec(
        name=attack.label,
        parts=parts,
        eps=eps,
        norm=norm,
        restarts=restarts,
        seed=seed,
        num_classes=used_classes,
        draws=draws,
    )
    # what a model answers is known for good only where it draws nothing; a single step repeats nothing
    return CheckedAttack(model, spec, saves_passes=draws == 1 and attack.classes != ("FGSM",))


def _look_up(name: str | EvaluationAttack) -> EvaluationAttack:
    if isinstance(name, EvaluationAttack):
        return name
    return chosen("an evaluation attack", EVALUATION_ATTACKS, name)


def _check(attack: EvaluationAttack, norm: Norm, num_classes: int, restarts: int) -> None:
    if norm == "L2" and "FGSM" in attack.classes:
        others = [other.label for other in EVALUATION_ATTACKS.values() if "FGSM" not in other.classes]
        raise ValueError(f"expected norm Linf for {attack.label}, found L2; attacks in L2 are {', '.join(others)}")
    if num_classes < attack.least_classes:
        others = [other.label for other in EVALUATION_ATTACKS.values() if other.least_classes <= max(num_classes, 2)]
        raise ValueError(
            f"expected num_classes >= {attack.least_classes} for {attack.label}, found {num_classes}; "
            f"fewer classes can be attacked with {', '.join(others)}"
        )
    if restarts != 1 and not attack.randomised:
        raise ValueError(f"expected restarts=1 for {attack.label}, found {restarts}; it starts at the image itself")


def _parts(
    class_name: str, attack: EvaluationAttack, *, eps: float, norm: Norm, num_classes: int, restarts: int, seed: int
) -> tuple[Part, ...]:
    """Return the torchattacks objects that run one class; PGD has no restarts or targets of its own and is repeated."""
    seeded: dict[str, float | str] = {"norm": norm, "eps": eps, "n_restarts": restarts, "seed": seed}
    aims = min(num_classes - 1, _PUBLISHED_TARGETS)
    n_classes = aims + 1  # torchattacks aims at n_classes - 1 targets
    arguments: dict[str, dict[str, float | str]] = {
        "FGSM": {"eps": eps},
        "PGD": {"eps": eps, "alpha": eps / 4, "steps": attack.steps, "random_start": True},
        "APGD": {**seeded, "steps": attack.steps, "loss": "ce"},
        "APGDT": {**seeded, "steps": attack.steps, "n_classes": n_classes},
        "FAB": {**seeded, "steps": attack.steps, "n_classes": n_classes, "multi_targeted": True},
        "Square": {**seeded, "n_queries": attack.queries},
    }
    chosen = _CLASSES_IN_L2.get(class_name, class_name) if norm == "L2" else class_name
    targets = range(1, aims + 1) if attack.targeted else (None,)
    once = tuple(Part(chosen, arguments[class_name], target) for target in targets)
    return once * (restarts if class_name == "PGD" else 1)
