"""A direction serves every active objective, whatever scales and aggregator made it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mgda import MGDA, Balance, balance
from mgda.balancing import NORMALISATIONS

Aggregator = Callable[[Tensor], Tensor]


def random_gradients(seed: int, *, objectives: int = 4, parameters: int = 12) -> dict[str, Tensor]:
    """Gradients with a common part, and lengths that differ by up to 1e6."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(parameters, generator=generator, dtype=torch.float64)
    own = torch.randn(objectives, parameters, generator=generator, dtype=torch.float64)
    lengths = 10 ** (6 * torch.rand(objectives, 1, generator=generator, dtype=torch.float64) - 3)
    return {f"objective {i}": row for i, row in enumerate(lengths * (0.3 * common + own))}


def weighted_sum(outcome: Balance, gradients: dict[str, Tensor]) -> Tensor:
    terms = [outcome.weights[name] * outcome.scales[name] * gradient for name, gradient in gradients.items()]
    return torch.stack(terms).sum(0)


def cosines(direction: Tensor, gradients: dict[str, Tensor]) -> list[float]:
    return [float(direction @ gradient / (direction.norm() * gradient.norm())) for gradient in gradients.values()]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_objective_descends(normalisation: str) -> None:
    for seed in range(200):
        gradients = random_gradients(seed)
        outcome = balance(gradients, aggregator=MGDA(normalisation=normalisation))
        assert min(cosines(outcome.direction, gradients)) > 0
        assert outcome.residual is not None
        assert outcome.residual < 2e-15


def test_weights_of_scaled_gradients_would_make_raw_ones_ascend() -> None:
    """The defect that scaling once avoids shows on these very gradients: an objective ascends."""
    ascending = 0
    for seed in range(200):
        gradients = random_gradients(seed)
        weights = balance(gradients, aggregator=MGDA(normalisation="l2")).weights
        mixed = torch.stack([weights[name] * gradient for name, gradient in gradients.items()]).sum(0)
        ascending += min(cosines(mixed, gradients)) < 0
    assert ascending > 50


def test_two_objectives_meet_the_closed_form() -> None:
    gradients = {"accuracy": torch.tensor([3.0, 1, -2]), "robustness": torch.tensor([-1.0, 2, 1])}
    outcome = balance(gradients, aggregator=MGDA())
    assert outcome.weights == pytest.approx({"accuracy": 9 / 26, "robustness": 17 / 26})
    assert outcome.scales == {"accuracy": 1.0, "robustness": 1.0}
    assert outcome.direction.tolist() == pytest.approx([5 / 13, 43 / 26, -1 / 26])
    assert outcome.norm == pytest.approx((75 / 26) ** 0.5)


def test_l2_bisects_the_angle_of_two_objectives() -> None:
    gradients = {"short": torch.tensor([1e-6, 0.0]), "long": torch.tensor([3e3, 4e3])}
    outcome = balance(gradients, aggregator=MGDA(normalisation="l2"))
    assert outcome.weights == pytest.approx({"short": 0.5, "long": 0.5})
    assert outcome.scales == pytest.approx({"short": 1e6, "long": 2e-4})
    assert outcome.direction.tolist() == pytest.approx([0.8, 0.4])


def test_l2_does_not_see_the_lengths_of_gradients() -> None:
    gradients = random_gradients(0)
    stretched = {name: 10.0**i * gradient for i, (name, gradient) in enumerate(gradients.items())}
    aggregator = MGDA(normalisation="l2")
    expected = balance(gradients, aggregator=aggregator)
    found = balance(stretched, aggregator=aggregator)
    torch.testing.assert_close(found.direction, expected.direction)
    assert found.weights == pytest.approx(expected.weights)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_an_inactive_objective_leaves_the_problem(normalisation: str) -> None:
    aggregator = MGDA(normalisation=normalisation)
    gradients = random_gradients(1)
    expected = balance(gradients, aggregator=aggregator)
    met = {"a bound that is met": torch.zeros(12, dtype=torch.float64)}
    outcome = balance(met | gradients, aggregator=aggregator, active=list(gradients))
    assert torch.equal(outcome.direction, expected.direction)
    assert outcome.weights == {"a bound that is met": 0.0} | expected.weights
    assert outcome.scales == {"a bound that is met": 1.0} | expected.scales
    assert balance(met | gradients, aggregator=aggregator).norm == 0  # active, its zero gradient stops everything


def test_an_inactive_objective_may_be_broken() -> None:
    gradients = random_gradients(2) | {"broken": torch.full((12,), torch.nan, dtype=torch.float64)}
    assert balance(gradients, aggregator=MGDA(), active={"objective 0"}).weights["objective 0"] == 1


@pytest.mark.parametrize("aggregator", [MGDA(), torch.sum])
def test_without_an_active_objective_nothing_moves(aggregator: Aggregator) -> None:
    gradients = {"a": torch.ones(3), "b": torch.ones(3)}
    outcome = balance(gradients, aggregator=aggregator, active=())
    assert outcome.direction.tolist() == [0, 0, 0]
    assert outcome.weights == {"a": 0.0, "b": 0.0}
    assert (outcome.norm, outcome.residual) == (0, None)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_weights_reproduce_the_direction(normalisation: str) -> None:
    for seed in range(50):
        gradients = random_gradients(seed)
        outcome = balance(gradients, aggregator=MGDA(normalisation=normalisation))
        torch.testing.assert_close(weighted_sum(outcome, gradients), outcome.direction, rtol=1e-9, atol=0)
        assert sum(outcome.weights.values()) == pytest.approx(1)
        assert outcome.norm == pytest.approx(float(outcome.direction.norm()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_a_plain_callable_are_recovered(dtype: torch.dtype) -> None:
    coefficients = torch.tensor([0.5, -2.0, 0.0, 3.0], dtype=dtype)
    gradients = {name: gradient.to(dtype) for name, gradient in random_gradients(3).items()}
    outcome = balance(gradients, aggregator=lambda jacobian: coefficients / jacobian.norm(dim=1) @ jacobian)
    found = [outcome.weights[name] * float(gradient.norm()) for name, gradient in gradients.items()]
    assert found == pytest.approx(coefficients.tolist(), abs=1e-4 if dtype == torch.float32 else 1e-12)
    assert outcome.residual is None


def test_dependent_gradients_share_the_weight_of_a_plain_callable() -> None:
    row = torch.tensor([1.0, 2.0, -1.0])
    gradients = {"a": row, "b": row, "zero": 0 * row}
    for _ in range(200):  # a solver that reads memory which was not set is wrong now and then
        blocks = [torch.full((size,), 7, dtype=torch.int32) for size in range(1, 9)]
        del blocks
        outcome = balance(gradients, aggregator=lambda jacobian: jacobian.mean(0))
        assert outcome.weights == pytest.approx({"a": 1 / 3, "b": 1 / 3, "zero": 0})


def test_gradients_that_rounding_alone_tells_apart_get_no_huge_weights() -> None:
    row = torch.randn(20, generator=torch.Generator().manual_seed(0))
    outcome = balance({"a": row, "b": row.nextafter(2 * row)}, aggregator=lambda jacobian: jacobian.mean(0))
    assert outcome.weights == pytest.approx({"a": 0.5, "b": 0.5}, rel=1e-5)


def test_the_direction_of_a_trained_aggregator_carries_no_graph() -> None:
    trained = torch.tensor([1.0, 2.0], requires_grad=True)
    outcome = balance({"a": torch.ones(1), "b": torch.ones(1)}, aggregator=lambda jacobian: trained @ jacobian)
    assert not outcome.direction.requires_grad


@pytest.mark.parametrize("name", ["UPGrad", "MGDA", "PCGrad", "Mean"])
def test_the_aggregators_of_torchjd_stand_in(name: str) -> None:
    aggregation = pytest.importorskip("torchjd.aggregation", exc_type=ImportError)
    try:
        aggregator = getattr(aggregation, name)()
    except ImportError as missing_extra:
        pytest.skip(str(missing_extra))
    gradients = random_gradients(4, objectives=3)
    outcome = balance(gradients, aggregator=aggregator)
    torch.testing.assert_close(weighted_sum(outcome, gradients), outcome.direction)


def test_the_call_agrees_with_balance() -> None:
    gradients = random_gradients(5)
    for normalisation in NORMALISATIONS:
        aggregator = MGDA(normalisation=normalisation)
        direction = aggregator(torch.stack(list(gradients.values())))
        assert torch.equal(direction, balance(gradients, aggregator=aggregator).direction)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_opposite_gradients_give_exactly_no_direction(normalisation: str) -> None:
    row = torch.randn(7, generator=torch.Generator().manual_seed(0))
    assert MGDA(normalisation=normalisation)(torch.stack([row, -3 * row, row])).tolist() == [0] * 7


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_direction_has_the_dtype_of_the_gradients(dtype: torch.dtype) -> None:
    jacobian = torch.tensor([[3, 1, -2], [-1, 2, 1]], dtype=dtype, requires_grad=True)
    direction = MGDA()(jacobian)
    assert direction.dtype == dtype
    assert not direction.requires_grad
    torch.testing.assert_close(direction, torch.tensor([5 / 13, 43 / 26, -1 / 26], dtype=dtype))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("aggregator", [MGDA(), MGDA(normalisation="l2"), lambda jacobian: jacobian.mean(0)])
def test_the_direction_stays_on_the_device(aggregator: Aggregator) -> None:
    gradients = random_gradients(6)
    expected = balance(gradients, aggregator=aggregator)
    outcome = balance({name: gradient.cuda() for name, gradient in gradients.items()}, aggregator=aggregator)
    assert outcome.direction.is_cuda
    torch.testing.assert_close(outcome.direction.cpu(), expected.direction)
    assert outcome.weights == pytest.approx(expected.weights)


def test_gradients_that_are_not_finite_are_named() -> None:
    gradients = {
        "accuracy": torch.tensor([1.0, 2.0]),
        "robustness": torch.tensor([torch.nan, torch.inf]),
        "macs": torch.tensor([0.0, -torch.inf]),
    }
    with pytest.raises(FloatingPointError, match="2 of 2 entries of robustness, 1 of 2 entries of macs not finite"):
        balance(gradients, aggregator=MGDA())


def test_a_direction_that_is_not_finite_is_refused() -> None:
    with pytest.raises(FloatingPointError, match=r"1 of 1 entries of .*aggregator"):
        balance({"a": torch.ones(1)}, aggregator=lambda jacobian: jacobian[0] * torch.nan)


@pytest.mark.parametrize(
    ("gradients", "active", "message"),
    [
        ({}, None, "at least one objective"),
        ({"a": torch.ones(2), "b": torch.ones(3)}, None, r"of one size, found {'a': \[2\], 'b': \[3\]}"),
        ({"a": torch.ones(2, 2)}, None, r"flat gradients \[n\] .*found {'a': \[2, 2\]}"),
        ({"a": torch.tensor(1.0)}, None, r"flat gradients \[n\] .*found {'a': \[\]}"),
        ({"a": torch.ones(2)}, {"a", "z"}, r"among \['a'\], found \['z'\]"),
    ],
)
def test_what_is_no_set_of_gradients_is_refused(
    gradients: dict[str, Tensor], active: set[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        balance(gradients, aggregator=MGDA(), active=active)


def test_an_aggregator_must_give_one_direction() -> None:
    with pytest.raises(ValueError, match=r"direction \[3\], found \[2, 3\]"):
        balance({"a": torch.ones(3), "b": torch.ones(3)}, aggregator=lambda jacobian: jacobian)


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \['none', 'l2'\], found 'loss'"):
        MGDA(normalisation="loss")


@pytest.mark.parametrize(
    ("jacobian", "message"),
    [
        (torch.ones(3), r"floating-point Jacobian \[m, n\], found torch.float32 \[3\]"),
        (torch.ones(2, 3, dtype=torch.int64), "found torch.int64"),
        (torch.full((2, 3), 1e200, dtype=torch.float64), "square overflows"),
        (torch.tensor([[1.0, torch.nan]]), "not finite"),
    ],
)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_what_is_no_jacobian_is_refused(jacobian: Tensor, message: str, normalisation: str) -> None:
    with pytest.raises(ValueError, match=message):
        MGDA(normalisation=normalisation)(jacobian)
