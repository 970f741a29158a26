"""What an evaluation tries on images: attacks, radii, corruptions, and what the checks for gradient masking need."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, CheckedAttack, EvaluationAttack, evaluation_attack
from pipeline.data import ImageData
from pipeline.evaluation import gradient_masking
from pipeline.evaluation.accuracy import CLEAN, classified_right
from pipeline.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from pipeline.evaluation.measuring.measure import EvaluationCase
from pipeline.evaluation.probing import Probed, probe
from pipeline.evaluation.surrogate import RECIPE, train_surrogate
from pipeline.networks.description import TrainedNetwork
from pipeline.networks.network_files import check_fits, load_network
from pipeline.settings import EvaluateSettings, Experiment

RESTARTS = 5  # of the check: of which any may break an image
DRAWS = 10  # of noise, likewise
QUERIES = 1000  # of Square in the check, a fifth of its budget as an attack
ERASING_RADIUS = 0.5  # in Linf, of a pixel: within it every image can become the same grey


def planned(probed: Probed, experiment: Experiment, data: ImageData, fabric: Fabric) -> dict[str, list[EvaluationCase]]:
    """Return the cases that the settings ask for, by section of robustness.json.

    Raises ValueError when the data's classes are too few for an attack, and RunError for a surrogate that does not fit
    or a network without the gradients that an attack follows.
    """
    settings = experiment.evaluate
    sweep, checks = [settings.sweep_attack] if settings.sweep else [], ["evaluate.checks"] if settings.checks else []
    probed.check_gradient([*settings.attacks, *sweep, *checks])
    make = partial(attack_on, probed, experiment, data.num_classes)
    cases = {
        "sweep": [_case_of(make(settings.sweep_attack, eps=eps)) for eps in sorted(settings.sweep)],
        "check_rows": _check_trials(probed, experiment, data, fabric) if settings.checks else [],
        "corruptions": [
            _corruption(name, severity, experiment.seed) for name in settings.corruptions for severity in SEVERITIES
        ],
    }
    others = {section: [_of_network(case, probed) for case in found] for section, found in cases.items()}
    return {"attacks": attack_cases(probed, experiment, data.num_classes), **others}


def attack_cases(probed: Probed, experiment: Experiment, num_classes: int) -> list[EvaluationCase]:
    """Return the images as they are, then each attack of `evaluate.attacks`. Raises ValueError as `planned` does."""
    settings = experiment.evaluate
    attacks = [
        attack_on(probed, experiment, num_classes, name, restarts=_restarts(name, settings))
        for name in settings.attacks
    ]
    return [_of_network(case, probed) for case in (EvaluationCase(CLEAN), *map(_case_of, attacks))]


def attack_on(
    probed: Probed, experiment: Experiment, num_classes: int, attack: str | EvaluationAttack, **chosen: Any
) -> CheckedAttack:
    """An attack as the settings have it, but for what is chosen. Raises RunError where it has no gradient to follow."""
    probed.check_gradient([attack])
    settings = experiment.evaluate
    given: dict[str, Any] = {
        "eps": settings.eps,
        "norm": settings.norm,
        "num_classes": num_classes,
        "seed": experiment.seed,
        "cw_radius": settings.cw_radius,
        "draws": probed.draws,
    }
    return evaluation_attack(attack, probed.network, **(given | chosen))


def _restarts(name: str, settings: EvaluateSettings) -> int:
    """AutoAttack is the published ensemble, with one start of each part."""
    return settings.restarts if EVALUATION_ATTACKS[name].randomised and name != "autoattack" else 1


def _of_network(case: EvaluationCase, probed: Probed) -> EvaluationCase:
    """Add to a case what is known of the network."""
    follows = isinstance(case.change, CheckedAttack) and case.change.spec.follows_gradient
    return replace(case, draws=probed.draws, zero_gradient=follows and probed.gradient == "zero")


def _case_of(attack: CheckedAttack, label: str | None = None) -> EvaluationCase:
    return EvaluationCase(label or attack.spec.name, attack.settings, attack)


def _check_trials(probed: Probed, experiment: Experiment, data: ImageData, fabric: Fabric) -> list[EvaluationCase]:
    """Return what masking_verdict reads; FGSM is an attack in Linf alone."""
    settings = experiment.evaluate
    make = partial(attack_on, probed, experiment, data.num_classes)
    square = replace(EVALUATION_ATTACKS["square"], label=gradient_masking.BLACK_BOX, queries=QUERIES)
    size = data.in_channels * data.image_size**2
    erasing = ERASING_RADIUS if settings.norm == "Linf" else ERASING_RADIUS * size**0.5
    return [
        *([_case_of(make(gradient_masking.SINGLE_STEP))] if settings.norm == "Linf" else []),
        _case_of(make(gradient_masking.FEW_STEPS)),
        _case_of(make(gradient_masking.MANY_STEPS)),
        _case_of(make(gradient_masking.FEW_STEPS, restarts=RESTARTS), gradient_masking.RESTARTED),
        _case_of(make(gradient_masking.FEW_STEPS, eps=erasing), gradient_masking.LARGE_RADIUS),
        _noise_trial(probed.expected, experiment),
        _case_of(make(square)),
        _surrogate_trial(experiment, data, fabric),
    ]


def _noise_trial(network: nn.Module, experiment: Experiment) -> EvaluationCase:
    settings = experiment.evaluate
    generator = torch.Generator()
    search = partial(random_search, network, eps=settings.eps, norm=settings.norm, generator=generator)
    record = {"draws": DRAWS, "eps": settings.eps, "norm": settings.norm, "seed": experiment.seed}
    return EvaluationCase(gradient_masking.NOISE, record, search, generator=generator)


def random_search(
    network: nn.Module, images: Tensor, labels: Tensor, *, eps: float, norm: str, generator: torch.Generator
) -> Tensor:
    """Images on the surface of the ball, drawn up to DRAWS times until the network errs, by a generator on the CPU."""
    tried = images
    for _ in range(DRAWS):
        noise = torch.randn(images.shape, generator=generator).to(images)
        step = noise.sign() if norm == "Linf" else noise / noise.flatten(1).norm(dim=1)[:, None, None, None]
        right = classified_right(network, tried, labels)
        tried = torch.where(right[:, None, None, None], (images + eps * step).clamp(0, 1), tried)
    return tried


def _surrogate_trial(experiment: Experiment, data: ImageData, fabric: Fabric) -> EvaluationCase:
    """A white-box attack on another network, whose images are tried on this one; it is trained only if it is needed."""
    settings = experiment.evaluate
    given = load_network(Path(settings.surrogate)) if settings.surrogate else None
    if given is not None:
        check_fits(given, data)
    described = RECIPE | {"seed": experiment.seed} if given is None else _identity(given)

    @cache
    def attack() -> CheckedAttack:
        network = _own_surrogate(data, fabric, experiment.seed) if given is None else given.network
        surrogate = probe(
            fabric.to_device(network),
            data.test.to(fabric.device),
            name="the surrogate",
            settings=settings,
            fabric=fabric,
        )
        return attack_on(surrogate, experiment, data.num_classes, gradient_masking.FEW_STEPS)

    record = {"surrogate": described, "eps": settings.eps, "norm": settings.norm, "seed": experiment.seed}
    return EvaluationCase(gradient_masking.SURROGATE, record, lambda images, labels: attack()(images, labels))


def _own_surrogate(data: ImageData, fabric: Fabric, seed: int) -> nn.Module:
    """Train the same in all processes; the batch before which one needs it draws what it would have drawn."""
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        return train_surrogate(data, fabric.device, seed)


def _identity(trained: TrainedNetwork) -> dict[str, Any]:
    description = trained.description
    return {"name": description.name, "training": description.training, "state_sha256": trained.state_sha256}


def _corruption(name: str, severity: int, seed: int) -> EvaluationCase:
    corruption = CORRUPTIONS[name]
    generator = torch.Generator()
    settings = {
        "corruption": name,
        "severity": severity,
        corruption.strength: corruption.levels[severity - 1],
        "seed": seed,
    }
    corrupt = partial(_corrupted, corruption, severity, generator)
    return EvaluationCase(f"{name}-{severity}", settings, corrupt, is_attack=False, generator=generator)


def _corrupted(
    corruption: Corruption, severity: int, generator: torch.Generator, images: Tensor, labels: Tensor
) -> Tensor:
    return corruption(images, severity, generator)
