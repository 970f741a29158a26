"""Steps of learned optimizers on made-up parameters and gradients, by the project and by its oracle."""

import numpy as np
import torch

from learned_optimizers import LearnedOptimizer, architecture, new_theta
from tests.support.optimization.plain_general import plain_general
from tests.support.optimization.plain_learned import plain_gru, plain_hierarchical, plain_mlp

COMPILED = ("mlp", "hierarchical", "general")
NAMES = (*COMPILED, "gru", "gru_log")


SHAPES = ((3, 4), (5,), (), (2, 3, 2, 1, 2))


def theta_of(name, dtype=torch.float64, scale=1.0):
    """Random meta-parameters, none of them zero, so that each takes part in a step."""
    generator = torch.Generator().manual_seed(1)
    theta = new_theta(name, generator=generator)
    noise = torch.randn(theta.num_parameters, generator=generator)
    return theta.with_vector((scale * (theta.vector() + 0.1 * noise)).to(dtype))


def problem(steps=4, shapes=SHAPES, dtype=torch.float64, seed=2):
    """Parameters, and for each step gradients, a training loss and now and then a validation loss."""
    generator = torch.Generator().manual_seed(seed)

    def draw(shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    params = [draw(shape) for shape in shapes]
    params[1].zero_()  # as biases start
    rows = []
    for step in range(steps):
        gradients = [10.0 ** (index - 2) * draw(shape) for index, shape in enumerate(shapes)]
        loss = (0.2 * draw(())).exp()  # none three times another: that would be warned of
        rows.append((gradients, loss, draw(()).exp() if step % 2 else None))
    return params, rows


def functional(theta, params, rows):
    rule = architecture(theta.architecture)
    state = rule.initial_state(theta.tensors, params)
    for gradients, loss, valid_loss in rows:
        params, state = rule.update(theta.tensors, state, params, gradients, loss=loss, valid_loss=valid_loss)
    return params


def stepped(optimizer, rows):
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for gradients, loss, valid_loss in rows:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(loss=loss, valid_loss=valid_loss)
    return [parameter.detach() for parameter in parameters]


def optimized(theta, params, rows, **options):
    return stepped(LearnedOptimizer([torch.nn.Parameter(p.clone()) for p in params], theta, **options), rows)


def close(found, expected, tolerance=1e-6):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


def plain(theta, params, rows):
    """What NumPy makes of it in float64, element by element."""
    weights = {name: tensor.double().numpy() for name, tensor in theta.tensors.items()}
    rows = [
        ([g.double().numpy() for g in gradients], float(loss), None if valid_loss is None else float(valid_loss))
        for gradients, loss, valid_loss in rows
    ]
    rules = {"mlp": plain_mlp, "hierarchical": plain_hierarchical, "general": plain_general}
    rule = rules.get(theta.architecture, plain_gru)
    return [torch.from_numpy(np.asarray(p)) for p in rule(weights, [p.double().numpy() for p in params], rows)]
