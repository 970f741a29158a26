"""Optimizers as functions: their own next step from the state that is read, and refusals of those that are none."""

import doctest

import pytest
import torch

from learned_optimizers import LearnedOptimizer
from learned_optimizers.analysis import linearisation, of_theta, of_torch, verdicts
from learned_optimizers.analysis.analysis import PLAIN_SGD, analyse, best_sgd
from learned_optimizers.analysis.of_theta import theta_function
from learned_optimizers.analysis.of_torch import torch_function
from learned_optimizers.analysis.step_function import Moment
from learned_optimizers.analysis.trainings import sample_tasks, train
from learned_optimizers.meta_training.normalisation import rate_curves
from tests.support.optimization.learned_steps import NAMES, theta_of
from tests.support.optimization.planted import Counting, Normed

CLASSES = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "ASGD", "Rprop")
GRADIENTS = torch.tensor([[0.3, -0.2, 1.0], [0.1, -0.4, -2.0], [0.2, 0.5, 0.5], [-0.6, 0.1, 0.7]]).double()


@pytest.mark.parametrize("name", CLASSES)
def test_steps_of_the_function_are_those_of_torch(name):
    def make(params):
        return getattr(torch.optim, name)(params, lr=0.05)

    function = torch_function(make, name)
    param = torch.zeros(3).double().requires_grad_()
    optimizer = make([param])
    states = function.initial().expand(3, -1)
    for step, gradients in enumerate(GRADIENTS):
        param.data.zero_()  # where decay of weights does nothing
        param.grad = gradients.clone()
        optimizer.step()
        states, updates = function(states, gradients, Moment(step, 1.0))
        torch.testing.assert_close(updates, -param.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(states, function.read(optimizer, [param]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (torch.optim.LBFGS, "LBFGS makes no step on a vector's gradient alone: .*closure"),
        (torch.optim.SparseAdam, "SparseAdam makes no step on a vector's gradient alone: .*dense"),
        (Counting, "Counting: a step from its state after two others is not its own third"),
    ],
)
def test_what_is_no_function_of_state_and_gradient_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        torch_function(make, make.__name__)


def test_elements_that_see_one_another_are_looked_at_alone():
    function = torch_function(Normed, "normed")
    _, updates = function(torch.zeros(3, 0).double(), GRADIENTS[0], Moment(1, 1.0))
    torch.testing.assert_close(updates, 0.1 * GRADIENTS[0] / (GRADIENTS[0].abs() + 1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["gru", "gru_log"])
def test_a_component_wise_step_is_the_optimizer_s_own(name):
    theta = theta_of(name)
    function = theta_function(theta, name)
    param = torch.nn.Parameter(torch.zeros(3).double())
    optimizer = LearnedOptimizer([param], theta)
    states = function.initial().expand(3, -1)
    for step, gradients in enumerate(GRADIENTS):
        before = param.detach().clone()
        param.grad = gradients.clone()
        optimizer.step()
        states, updates = function(states, gradients, Moment(step, 1.0))
        torch.testing.assert_close(updates, before - param.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(states, function.read(optimizer, [param]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "hierarchical", "general"])
def test_an_element_among_others_steps_as_it_does_in_its_tensor(name):
    theta = theta_of(name)
    function = theta_function(theta, name)
    around = of_theta._Surroundings(theta, {key: tensor.double() for key, tensor in theta.tensors.items()}, 0.5)
    params = around.params.clone()
    params[0] = 0.0  # the element that is looked at; so it stands for one of them
    around.params = params
    function._around[0.5] = around
    param = torch.nn.Parameter(params.clone())
    optimizer = LearnedOptimizer([param], theta)
    states = function.initial()[None]
    for step in range(4):
        with torch.no_grad():
            param.copy_(params)
        param.grad = around.gradients.clone()
        optimizer.step(loss=1.0)
        states, updates = function(states, around.gradients[:1], Moment(step, 0.5))
        torch.testing.assert_close(updates, params[:1] - param.detach()[:1], rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(states[0], function.read(optimizer, [param])[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_is_taken_apart(name):
    theta = theta_of(name)
    function = theta_function(theta.with_vector(0.3 * theta.vector()), name)
    found = analyse(function, sample_tasks("quadratics_5", count=1, seed=1), steps=4)
    assert {verdict.mechanism for verdict in verdicts.verdicts_on(found)} == {
        "momentum",
        "gradient clipping",
        "learning rate schedule",
        "learning rate adaptation",
    }
    assert found.clipping.updates.isfinite().all()
    assert found.schedule.rates.isfinite().all()


def test_a_task_that_diverges_is_refused():
    function = torch_function(lambda params: torch.optim.SGD(params, lr=1e3), "SGD")
    with pytest.raises(ValueError, match=r"SGD diverges on quadratics_5: after \d+ steps the loss is"):
        train(function, sample_tasks("quadratics_5", count=1, seed=1), 20, seed=0)


def test_the_best_rate_of_sgd_is_the_best_of_whole_trainings():
    tasks = sample_tasks("quadratics_5", count=2, seed=1)
    rate, relative = best_sgd(tasks, 20, seed=0)
    again = train(torch_function(lambda params: torch.optim.SGD(params, lr=rate), "SGD"), tasks, 20, seed=0)
    assert again.relative_loss == pytest.approx(relative, rel=1e-4)
    other = rate_curves(PLAIN_SGD, [0.0, rate / 3], tasks, 20, seed=0, split="train")
    assert (other[:, 1] / other[:, 0]).mean() > relative


@pytest.mark.parametrize("module", [linearisation, of_theta, of_torch, verdicts])
def test_examples_of_docstrings_hold(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted
    assert not outcome.failed
