"""Planted gradient masking is caught by the checks, an honest network is not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation import gradient_masking as masking
from pipeline.evaluation.accuracy import accuracy_of
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.networks.user_module import load_foreign
from pipeline.runs.files import read_json
from tests.support.slowly import slowly

EPS = 0.1
IMAGES = 60


def row(name, right, images=200):
    return accuracy_of(name, {}, [right], images, 0.0)


def rows(**changed):
    """An honest network: 200 images, of which attacks leave half."""
    names = {
        masking.SINGLE_STEP: 110,
        masking.FEW_STEPS: 100,
        masking.MANY_STEPS: 99,
        masking.RESTARTED: 98,
        masking.LARGE_RADIUS: 0,
        masking.NOISE: 180,
        masking.BLACK_BOX: 120,
        masking.SURROGATE: 150,
    }
    return {name: row(name, right) for name, right in (names | changed).items()}


def failed(found):
    return [check.name for check in masking.masking_verdict(found, 10).checks if not check.passed]


def test_an_honest_network_passes_all_checks():
    verdict = masking.masking_verdict(rows(), 10)
    assert verdict.believed
    assert verdict.verdict == "no sign of gradient masking"
    assert [check.name for check in verdict.checks] == [
        "gradient",
        "large radius",
        "more steps",
        "restarts",
        "single step",
        "noise",
        "black box",
        "transfer",
    ]


@pytest.mark.parametrize(
    ("name", "right", "check"),
    [
        (masking.LARGE_RADIUS, 40, "large radius"),
        (masking.MANY_STEPS, 80, "more steps"),
        (masking.RESTARTED, 80, "restarts"),
        (masking.SINGLE_STEP, 80, "single step"),
        (masking.NOISE, 80, "noise"),
        (masking.BLACK_BOX, 80, "black box"),
        (masking.SURROGATE, 80, "transfer"),
    ],
)
def test_each_sign_alone_is_named_with_its_figures(name, right, check):
    verdict = masking.masking_verdict(rows(**{name: right}), 10)
    assert not verdict.believed
    assert check in failed(rows(**{name: right}))
    assert verdict.verdict.startswith("robustness not to be believed: ")
    assert f"{name} leaves {right / 200:.1%}" in verdict.verdict
    assert "\n" not in verdict.verdict


@pytest.mark.parametrize(
    "name",
    [masking.SINGLE_STEP, masking.NOISE, masking.BLACK_BOX, masking.SURROGATE],
)
def test_a_weaker_attack_may_win_by_chance_within_the_interval_and_not_beyond(name):
    low = row("", 99).low
    inside, beyond = -(-low * 200 // 1), low * 200 // 1
    assert failed(rows(**{name: int(inside)})) == []
    assert len(failed(rows(**{name: int(beyond)}))) == 1


def test_more_steps_may_always_find_a_little_more():
    many = {name: row(name, 5000, 10_000) for name in (masking.FEW_STEPS, masking.MANY_STEPS)}
    little, much = (replace(row("x", right, 10_000), attack=masking.MANY_STEPS) for right in (4850, 4750))
    assert little.accuracy < many[masking.FEW_STEPS].low  # beyond the interval, and yet not much
    assert failed(many | {masking.MANY_STEPS: little}) == []
    assert failed(many | {masking.MANY_STEPS: much}) == ["more steps"]


def test_what_was_not_measured_is_not_judged():
    found = {name: found for name, found in rows().items() if name not in (masking.SINGLE_STEP, masking.SURROGATE)}
    assert {check.name for check in masking.masking_verdict(found, 10).checks}.isdisjoint({"single step", "transfer"})


class Honest(nn.Sequential):
    """A convolutional network of digits."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 10),
        )


class Quantised(nn.Module):
    """Input rounded to a few levels: no gradient passes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model((images * 8).round() / 8)


class Confident(nn.Module):
    """Logits so far apart that the softmax is exactly one and its gradient zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return 1e4 * self.model(images)


trained = Honest()


def honest() -> nn.Module:
    return trained


def quantised() -> nn.Module:
    return Quantised(trained)


def confident() -> nn.Module:
    return Confident(trained)


@pytest.fixture(scope="module")
def data():
    from pipeline.settings import DataSettings

    return load(DataSettings())


@pytest.fixture(scope="module", autouse=True)
def _trained(data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in trained.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        optimizer = torch.optim.Adam(trained.parameters(), lr=1e-2)
        for epoch in range(8):
            for images, labels in data.train.shuffled_batches(128, epoch):
                noisy = (images + EPS * torch.randn_like(images).sign()).clamp(0, 1)
                optimizer.zero_grad()
                F.cross_entropy(trained(noisy), labels).backward()
                optimizer.step()
    trained.zero_grad()
    trained.eval()


def verdict_on(factory, folder, data, *overrides):
    from e2rnas.cli.app import compose_experiment

    experiment = compose_experiment(
        [
            "evaluate.attacks=[pgd-20]",
            "evaluate.checks=true",
            f"evaluate.images={IMAGES}",
            "fabric.accelerator=cpu",
            *overrides,
        ]
    )
    subject = load_foreign(f"{__name__}:{factory}", None, None, data)
    evaluate(folder, experiment, data, make_fabric(experiment.fabric), subject)
    return read_json(folder / "robustness.json")["protocols"][-1]["checks"]


@pytest.mark.parametrize("norm", [[], *slowly(["evaluate.norm=L2", "evaluate.eps=0.5"])])
def test_an_honest_network_is_believed(norm, tmp_path, data):
    checks = verdict_on("honest", tmp_path, data, f"attack.eps={EPS}", *norm)
    assert checks["believed"], checks["verdict"]
    assert len(checks["checks"]) == (7 if norm else 8)


@pytest.mark.parametrize("factory", ["quantised", *slowly("confident")])
@pytest.mark.parametrize("norm", [[], *slowly(["evaluate.norm=L2", "evaluate.eps=0.5"])])
def test_planted_masking_is_caught_and_explained(norm, factory, tmp_path, data):
    checks = verdict_on(factory, tmp_path, data, f"attack.eps={EPS}", *norm)
    assert not checks["believed"]
    found = {check["name"] for check in checks["checks"] if not check["passed"]}
    assert {"black box", "transfer"} <= found, checks["checks"]
    evaluation = read_robustness(tmp_path / "robustness.json")[0]
    assert evaluation.checks.verdict == checks["verdict"]
    assert len(evaluation.check_rows) == (7 if norm else 8)
