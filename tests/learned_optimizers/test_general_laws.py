"""Laws of the general optimizer: no unit changes what it does, and no meta-parameters let it destroy a network."""

import pytest
import torch
from generalisation_tasks import DEVELOPMENT, JUDGING
from torch import nn

from learned_optimizers import LearnedOptimizer, load_theta, new_theta
from learned_optimizers.training_watch import EARLY_STEPS
from tests.support.optimization.learned_steps import theta_of
from tests.support.slowly import slowly

MOST_RISE = 2.0  # times the first loss: what none of the first steps may reach


def perceptron(width, dtype):
    return nn.Sequential(nn.Linear(20, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5)).to(
        dtype
    )


def trained(theta, *, width=16, steps=20, unit=1.0, reparametrised=1.0, dtype=torch.float64):
    """Weights after a training on random data, each times its factor. unit: of the loss.

    reparametrised: w = factor * parameter for all matrices of a network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = perceptron(width, dtype)
        batches = [(torch.randn(32, 20, dtype=dtype), torch.randint(5, (32,))) for _ in range(steps)]
    weights = dict(network.named_parameters())
    factors = {name: reparametrised if weight.dim() > 1 else 1.0 for name, weight in weights.items()}
    params = {name: nn.Parameter(weight.detach() / factors[name]) for name, weight in weights.items()}
    optimizer = LearnedOptimizer(params.values(), theta)
    for inputs, labels in batches:
        used = {name: param * factors[name] for name, param in params.items()}
        loss = unit * nn.functional.cross_entropy(torch.func.functional_call(network, used, (inputs,)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(loss=loss.detach())
    return [param.detach() * factors[name] for name, param in params.items()]


def differ(found, expected):
    """The largest distance of two trajectories' ends, relative to the size of each tensor."""
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("width", [16, *slowly(64, 1000)])  # 10^3 to 10^6 weights
@pytest.mark.parametrize("unit", [1e-4, 1e4, *slowly(1e-2, 1e2)])
def test_the_unit_of_the_loss_does_not_change_the_trajectory(unit, width):
    theta = theta_of("general")
    expected = trained(theta, width=width)
    assert differ(expected, trained(theta, width=width, steps=0)) > 0.1  # it has gone somewhere
    assert differ(trained(theta, width=width, unit=unit), expected) < 1e-9


@pytest.mark.parametrize("unit", [2.0**-13, 2.0**13])
def test_a_power_of_two_on_the_loss_does_not_change_a_bit(unit):
    theta = theta_of("general", torch.float32)
    expected = trained(theta, dtype=torch.float32)
    assert all(map(torch.equal, trained(theta, unit=unit, dtype=torch.float32), expected))


@pytest.mark.parametrize("width", [16, *slowly(64, 1000)])
@pytest.mark.parametrize("factor", [1e3, *slowly(1e-3, 0.1, 10.0)])
def test_the_unit_of_the_weights_does_not_change_the_trajectory(factor, width):
    theta = theta_of("general")
    expected = trained(theta, width=width)
    assert differ(trained(theta, width=width, reparametrised=factor), expected) < 1e-9


def test_a_matrix_that_starts_at_zero_is_trained_too():
    weight = nn.Parameter(torch.zeros(20, 30))
    optimizer = LearnedOptimizer([weight], load_theta("general"))
    for _ in range(50):
        weight.grad = weight.detach() - 1.0
        optimizer.step(loss=(weight - 1).square().mean().detach())
    assert weight.mean() > 0.3


def poor_theta(seed, scale=1.0):
    """Meta-parameters that nothing has trained, all of them random."""
    theta = new_theta("general", generator=torch.Generator().manual_seed(seed))
    return theta.with_vector(scale * torch.randn(theta.num_parameters, generator=torch.Generator().manual_seed(seed)))


def test_the_shipped_meta_parameters_were_trained_and_their_card_says_for_how_long():
    shipped, untrained = load_theta("general"), new_theta("general", generator=torch.Generator().manual_seed(0))
    assert shipped.num_parameters == untrained.num_parameters
    assert (shipped.vector() - untrained.vector()).abs().max() > 0.1
    assert shipped.horizon == 120


WIDEST = 1200
NETWORKS = [task for task in (*JUDGING, *DEVELOPMENT) if not task.needs_cifar and task.sizes.get("width", 0) < WIDEST]
"""Those left out are wider, as they take long."""
QUICK = ("3 x 48, batch 48", "10-30, batch norm", "1 layer of 40, sorting")
THETAS = {
    "shipped": lambda: load_theta("general"),
    "untrained": lambda: new_theta("general", generator=torch.Generator().manual_seed(0)),
    "random": lambda: poor_theta(1),
}


def first_losses(task, theta):
    """Losses of the steps in which an optimizer must not destroy a network."""
    examples = task.examples()
    network = task.build(examples, 0).train()
    optimizer = LearnedOptimizer(network.parameters(), theta)
    inputs, targets = examples.train
    losses = []
    for chosen in task.batches(examples, 0, EARLY_STEPS + 1):
        loss = task.batch_loss(network, inputs[chosen], targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(loss=loss.detach())
        losses.append(loss.item())
    return losses


def some(tasks):
    """Return the quick ones, and the others marked slow."""
    quick = [task for task in tasks if task.name in QUICK]
    return [*quick, *slowly(*(task for task in tasks if task not in quick))]


def test_at_least_40_networks_are_looked_at():
    assert len(NETWORKS) >= 40


@pytest.mark.parametrize("task", some(NETWORKS), ids=lambda task: task.name)
@pytest.mark.parametrize("theta", THETAS)
def test_none_of_the_first_steps_raises_the_loss_above_twice_its_start(theta, task):
    first, *others = first_losses(task, THETAS[theta]())
    assert max(others) <= MOST_RISE * first


def test_the_largest_change_of_a_tensor_is_a_part_of_its_weights_whatever_the_meta_parameters():
    for seed in range(5):
        theta = poor_theta(seed, scale=10.0)
        weights = [torch.randn(30, 40), torch.randn(7), torch.randn(4, 3, 3, 3)]
        params = [nn.Parameter(weight.clone()) for weight in weights]
        optimizer = LearnedOptimizer(params, theta)
        for step in range(5):
            for param in params:
                param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(step))
            before = [param.detach().clone() for param in params]
            optimizer.step(loss=1.0)
            for now, then in zip(params, before, strict=True):
                assert (now - then).norm() <= 0.2001 * then.norm()


def test_steps_begin_short_grow_while_the_loss_does_not_rise_and_shrink_where_it_does():
    def moved(losses):
        weight = nn.Parameter(torch.ones(6, 6))
        optimizer = LearnedOptimizer([weight], THETAS["untrained"]())
        for loss in losses:
            weight.data.fill_(1)  # all steps start from the same size
            weight.grad = torch.ones(6, 6)
            optimizer.step(loss=loss)
        return (weight.detach() - 1).norm().item()

    calm = [1.0] * 30
    assert moved(calm[:1]) < 1e-2 * moved(calm)
    assert moved([*calm, 1.4]) > 0.4 * moved(calm)
    rising = moved([*calm, 10.0])
    assert rising < 0.1 * moved(calm)
    assert moved([*calm, 10.0, 1.0]) < 0.5 * moved([*calm, 1.0, 1.0])  # it is remembered
    assert moved([*calm, 10.0, *[1.0] * 40]) > 0.8 * moved([*calm, *[1.0] * 41])  # and forgotten


def test_a_tensor_without_a_gradient_that_is_not_zero_stays_where_it_is():
    theta = theta_of("general", torch.float32)
    param, idle = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(5))
    optimizer = LearnedOptimizer([param, idle], theta)
    for _ in range(3):
        param.grad, idle.grad = torch.ones(3, 3), torch.zeros(5)
        optimizer.step(loss=1.0)
    assert torch.equal(idle, torch.ones(5))
    assert (param < 1).all()


def test_the_loss_is_welcome_and_not_needed():
    weights = [nn.Parameter(torch.ones(4)) for _ in range(2)]
    for weight, shown in zip(weights, ({"loss": 1.0}, {}), strict=True):
        optimizer = LearnedOptimizer([weight], theta_of("general", torch.float32))
        weight.grad = torch.ones(4)
        optimizer.step(**shown)
        assert (weight < 1).all()
