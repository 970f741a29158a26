"""Networks that hide their gradients or draw at random: refused, or measured as what they are, in one line."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from attacks import evaluation_attack, training_attack
from pipeline.data import as_float, load
from pipeline.evaluation.accuracy import interval_over_draws, wilson_interval
from pipeline.runs.files import read_json
from pipeline.settings import DataSettings
from search_space import PUBLISHED, Genotype
from tests.support.optimization.quick_attacks import quicken
from tests.support.runs import exported
from tests.support.scripts import TINY

weights: dict[str, torch.Tensor] = {}


SIGMA = 4.0


@pytest.fixture(scope="module")
def digits():
    """The 200 test images of the evaluations below, and their labels."""
    test = load(DataSettings(test_limit=200)).test
    return as_float(test.images), test.labels


@pytest.fixture(scope="module", autouse=True)
def _fitted():
    data = load(DataSettings())
    images, labels = as_float(data.train.images), data.train.labels
    fit = LogisticRegression(C=0.1, max_iter=200).fit(images.flatten(1), labels)
    weights["weight"], weights["bias"] = (torch.from_numpy(each).float() for each in (fit.coef_, fit.intercept_))


class Linear(nn.Module):
    """Right on most digits; the way to its logits is changed in the classes below."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weights["weight"].clone()), nn.Parameter(weights["bias"].clone())

    def forward(self, images):
        return F.linear(images.flatten(1), self.weight, self.bias)


class WithoutGrad(Linear):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


class Detached(Linear):
    def forward(self, images):
        return super().forward(images.detach())


class Decided(Linear):
    def forward(self, images):
        return F.one_hot(super().forward(images).argmax(dim=1), 10).float()


class Rounded(Linear):
    def forward(self, images):
        return super().forward((images * 8).round() / 8)


class Softmax(Linear):
    def forward(self, images):
        return super().forward(images).softmax(dim=1)


class LogitNoise(Linear):
    def forward(self, images):
        logits = super().forward(images)
        return logits + SIGMA * torch.randn_like(logits)


class DropsPixels(Linear):
    """Dropout that eval() does not end."""

    def forward(self, images):
        return super().forward(F.dropout(images, 0.5, training=True))


class Resized(Linear):
    def forward(self, images):
        side = int(torch.randint(6, 12, ()))
        return super().forward(F.interpolate(F.interpolate(images, size=(side, side)), size=(8, 8)))


class Bounded(Linear):
    def forward(self, images):
        if len(images) > 16:
            raise AssertionError(f"Guard failed:\ninput.size()[0] <= 16, found {len(images)}")
        return super().forward(images)


def run_evaluate(call_script, folder, name, *overrides):
    chosen = ["data.limit=null", "data.test_limit=200", f"run={folder}"]
    model = [] if name is None else [f"evaluate.model={__name__}:{name}"]
    return call_script("evaluate", *TINY, *chosen, *model, *overrides)


def rows_of(folder, section="attacks"):
    return {row["attack"]: row for row in read_json(folder / "robustness.json")["protocols"][-1][section]}


@pytest.mark.parametrize("name", ["WithoutGrad", "Detached", "Decided"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd-20", "cw", "autoattack"])
def test_a_module_without_gradients_is_refused_before_it_looks_robust(name, attack, tmp_path, call_script):
    status, _, err = run_evaluate(call_script, tmp_path / "run", name, f"evaluate.attacks=[{attack},square]")
    assert (status, err.count("\n")) == (2, 1), err
    assert f"{name}: its logits have no gradient to the images" in err
    assert f"{attack} needs one, square does not; attacks without are square" in err
    assert not (tmp_path / "run" / "robustness.json").exists()


@pytest.mark.parametrize(
    "chosen", [["evaluate.checks=true"], ["evaluate.sweep=[0.1]"], ["evaluate.models=[{0}:WithoutGrad,{0}:Linear]"]]
)
def test_every_way_to_attack_asks_for_gradients(chosen, tmp_path, call_script):
    name = None if "models" in chosen[0] else "WithoutGrad"
    overrides = [each.format(__name__) for each in chosen]
    status, _, err = run_evaluate(call_script, tmp_path / "run", name, "evaluate.attacks=[square]", *overrides)
    assert (status, err.count("\n")) == (2, 1), err
    assert "WithoutGrad: its logits have no gradient to the images" in err


@pytest.mark.slow  # the next but one has Square beside a gradient of zero
def test_attacks_that_need_no_gradient_go_on_without(tmp_path, call_script, monkeypatch):
    quicken(monkeypatch, "square")
    chosen = ["evaluate.attacks=[square]", "evaluate.images=10"]
    for name in ("WithoutGrad", "Linear"):
        status, _, err = run_evaluate(call_script, tmp_path / name, name, *chosen)
        assert status == 0, err
    assert rows_of(tmp_path / "WithoutGrad")["square"]["right"] == rows_of(tmp_path / "Linear")["square"]["right"]


@pytest.mark.parametrize(
    "make",
    [
        lambda model: evaluation_attack("cw", model),
        lambda model: evaluation_attack("pgd-20", model),
        lambda model: training_attack("fgsm", model),
    ],
)
def test_an_attack_itself_refuses_logits_without_a_gradient(make):
    with pytest.raises(ValueError, match="expected logits with a gradient to the images, found none"):
        make(WithoutGrad())(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))


@pytest.mark.usefixtures("few_queries")
def test_a_gradient_of_zero_is_said_and_not_believed(tmp_path, call_script, monkeypatch):
    chosen = ["evaluate.attacks=[pgd-20,square]", "evaluate.images=20", "evaluate.checks=true", "evaluate.eps=0.2"]
    quicken(monkeypatch, "square")
    status, out, err = run_evaluate(call_script, tmp_path / "run", "Rounded", *chosen)
    assert status == 0, err
    assert "gradient of the logits to the images is zero wherever it was tried" in out
    assert "pgd-20 followed nothing and says nothing of robustness" in out
    rows = rows_of(tmp_path / "run")
    assert [rows[name]["zero_gradient"] for name in ("clean", "pgd-20", "square")] == [False, True, False]
    checks = read_json(tmp_path / "run" / "robustness.json")["protocols"][-1]["checks"]
    assert not checks["believed"]
    assert "gradient" in {check["name"] for check in checks["checks"] if not check["passed"]}
    assert call_script("report", *TINY, f"run={tmp_path / 'run'}")[0] == 0
    assert "followed nothing" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("name", ["Linear", "Softmax"])
def test_an_honest_module_is_measured_once_and_without_a_remark(name, tmp_path, call_script):
    status, out, err = run_evaluate(call_script, tmp_path / "run", name, "evaluate.attacks=[fgsm]")
    assert status == 0, err
    assert "zero" not in out
    assert "draws" not in out
    assert {(row["draws"], row["spread"], row["zero_gradient"]) for row in rows_of(tmp_path / "run").values()} == {
        (1, 0.0, False)
    }


def test_the_accuracy_of_a_random_module_is_its_mean_over_draws(tmp_path, call_script, digits):
    status, out, err = run_evaluate(
        call_script, tmp_path / "run", "LogitNoise", "evaluate.attacks=[]", "evaluate.draws=20"
    )
    assert status == 0, err
    row = rows_of(tmp_path / "run")["clean"]
    images, labels = digits
    logits = (images.flatten(1) @ weights["weight"].T + weights["bias"]).double().numpy()
    noise = np.random.default_rng(1).normal(scale=SIGMA, size=(4000, *logits.shape))
    shares = ((logits + noise).argmax(axis=2) == labels.numpy()).mean(axis=1)
    assert row["accuracy"] == pytest.approx(shares.mean(), abs=4 * shares.std() / 20**0.5)
    assert row["spread"] == pytest.approx(shares.std(), rel=0.5)
    assert (row["draws"], row["images"], row["right"]) == (20, 200, round(row["accuracy"] * 20 * 200))
    assert sum(row["right_by_class"]) == row["right"]
    low, high = wilson_interval(round(row["right"] / 20), 200)
    assert row["high"] - row["low"] > high - low
    assert "the network draws at random" in out
    assert "20 draws" in out


@pytest.mark.parametrize("name", ["DropsPixels", "Resized"])
def test_random_modules_are_found_and_their_figures_repeat(name, tmp_path, call_script):
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        status, out, err = run_evaluate(call_script, folder, name, "evaluate.attacks=[fgsm]", "evaluate.draws=4")
        assert status == 0, err
        assert "two passes over the same images differ" in out
        found.append([(row["right"], row["spread"], row["draws"]) for row in rows_of(folder).values()])
        assert all(row["spread"] > 0 and row["draws"] == 4 for row in rows_of(folder).values())
    assert found[0] == found[1]
    assert rows_of(tmp_path / "one")["fgsm"]["settings"]["draws"] == 4
    assert call_script("report", *TINY, f"run={tmp_path / 'one'}")[0] == 0
    assert "means over 4 draws" in (tmp_path / "one" / "report.html").read_text()


def test_an_attack_on_the_expectation_breaks_what_one_on_a_single_draw_does_not(digits):
    images, labels = (each[:100] for each in digits)
    model = DropsPixels()

    def left(draws):
        attacked = evaluation_attack("fgsm", model, eps=0.1, draws=draws)(images, labels)
        torch.manual_seed(0)
        return np.mean([(model(attacked).argmax(1) == labels).float().mean().item() for _ in range(50)])

    assert left(30) < left(1) - 0.1


def test_the_operation_noise_of_a_cell_is_random(tmp_path, call_script):
    plain = exported.json_of(PUBLISHED["DARTS_V2"].genotype)
    noisy = Genotype.from_json(exported.json.dumps(plain).replace("dil_conv_3x3", "noise"))
    exported.write_network(tmp_path / "run", noisy)
    chosen = [f"run={tmp_path / 'run'}", "data.test_limit=50", "evaluate.attacks=[]", "fabric.accelerator=cpu"]
    status, out, err = call_script("evaluate", *chosen)
    assert status == 0, err
    assert "the network draws at random" in out
    assert rows_of(tmp_path / "run")["clean"]["draws"] == 10


@pytest.mark.usefixtures("few_queries")
def test_the_verdict_on_a_random_module_says_that_it_is(tmp_path, call_script):
    chosen = ["evaluate.attacks=[]", "evaluate.images=20", "evaluate.checks=true", "evaluate.draws=2"]
    status, out, err = run_evaluate(call_script, tmp_path / "run", "LogitNoise", *chosen)
    assert status == 0, err
    assert out.splitlines()[-1].endswith("a network that draws at random: means over 2 draws")


def test_random_modules_transfer_in_means_over_draws(tmp_path, call_script):
    models = f"evaluate.models=[{__name__}:LogitNoise,{__name__}:Linear]"
    status, _, err = run_evaluate(call_script, tmp_path / "run", None, models, "evaluate.draws=4")
    assert status == 0, err
    (content,) = read_json(tmp_path / "run" / "transfer.json")["protocols"]
    rows = {(row["made_on"], row["tried_on"]): row for row in content["rows"]}
    assert {key: row.get("draws", 1) for key, row in rows.items()} == {
        (made_on, tried_on): 4 if tried_on == "LogitNoise" else 1
        for made_on in ("LogitNoise", "Linear")
        for tried_on in ("LogitNoise", "Linear")
    }


@pytest.mark.parametrize(("size", "status"), [(17, 2), (16, 0)])
def test_a_bound_on_the_number_of_images_is_said_in_one_line(size, status, tmp_path, call_script):
    chosen = ["evaluate.attacks=[fgsm]", f"evaluate.batch_size={size}"]
    found, _, err = run_evaluate(call_script, tmp_path / "run", "Bounded", *chosen)
    assert found == status, err
    if status:
        assert err.count("\n") == 1
        assert "Bounded: a batch [17, 1, 8, 8] raised AssertionError: Guard failed: input.size()[0] <= 16" in err
        assert "evaluate.batch_size lowered" in err


def test_draws_that_agree_leave_the_interval_of_the_images_and_others_widen_it():
    assert interval_over_draws([80, 80, 80], 100) == pytest.approx(wilson_interval(80, 100))
    low, high = interval_over_draws([70, 80, 90], 100)
    student = 4.303  # the 97.5 % point of two degrees of freedom
    below = np.hypot(0.8 - wilson_interval(80, 100)[0], student * 0.1 / 3**0.5)
    assert (low, high) == pytest.approx((0.8 - below, 1.0), abs=1e-4)


def test_the_interval_over_draws_covers_the_mean_accuracy():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        shift = generator.normal(scale=0.05, size=(5, 1))  # of a whole draw, as of a side that is drawn once a batch
        chances = np.clip(generator.beta(4, 1, size=100) + shift, 0, 1)
        rights = (generator.random((5, 100)) < chances).sum(axis=1)
        low, high = interval_over_draws(rights.tolist(), 100)
        covered += low <= 0.8 <= high
    assert covered >= 0.95 * 400
