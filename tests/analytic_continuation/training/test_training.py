"""Simulations, the training on them, and the bands' calibration."""

import numpy as np
import pytest
import torch

from analytic_continuation import Kernel
from analytic_continuation.grids import weights
from analytic_continuation.training.batches import Geometry, Stream, held_out, random_batch, random_geometry, simulated
from analytic_continuation.training.calibration import calibrated, coverage
from analytic_continuation.training.network_training import NetworkTraining, judged
from analytic_continuation.training.shapes import SHAPES, WIDE
from analytic_continuation.unrolled.bands import Factors
from analytic_continuation.unrolled.model_files import ContinuationModel, load_model
from analytic_continuation.unrolled.network import UnrolledNetwork
from analytic_continuation.unrolled.window import STEP, Window, fine_nodes


def tiny_training(seed=0, steps=4):
    torch.manual_seed(seed)
    network = UnrolledNetwork(stages=2, channels=4)
    rates = {"learning_rate": 5e-3, "final_rate": 0.1, "clip": 1.0}
    return NetworkTraining(network, seed=seed, steps=steps, batch_size=4, **rates)


@pytest.mark.parametrize("shapes", list(SHAPES))
def test_densities_are_not_negative_and_have_the_integral_one(shapes):
    generator = np.random.default_rng(0)
    for _ in range(100):
        density = SHAPES[shapes](generator)
        assert density.min() >= 0
        assert weights(fine_nodes()) @ density == pytest.approx(1)


@pytest.mark.parametrize("kernel", list(Kernel))
def test_simulated_data_are_the_spectrum_with_as_much_noise_as_they_say(kernel):
    """The whitened residual of the true density has the variance 1 along each singular vector."""
    generator = np.random.default_rng(0)
    broad = np.exp(-0.5 * ((fine_nodes() - 0.1) / 0.2) ** 2)
    densities = np.repeat((broad / (weights(fine_nodes()) @ broad))[None], 200, axis=0)
    odd = 0 if kernel.is_bosonic else 1
    points = np.linspace(0, 50, 20) if kernel.is_in_time else np.pi / 50 * (2 * np.arange(20) + odd)
    geometry = Geometry(kernel, 50.0, Window(0.0, 1.0, kernel.is_bosonic), points, np.ones(20), True)
    batch = simulated(geometry, densities, np.full(200, 1e-3), generator)
    problems = batch.problems
    residual = problems.singular * (batch.densities @ problems.right.T * STEP**0.5 - problems.coefficients)
    leading = residual[:, problems.singular[0] > 1e-9 * problems.singular[0, 0]]
    assert leading.square().mean().item() == pytest.approx(1, abs=0.12)  # a known norm is a datum without noise


def test_a_batch_is_that_of_its_seed():
    first, same, other = random_batch(3, (0, 1)), random_batch(3, (0, 1)), random_batch(3, (0, 2))
    torch.testing.assert_close(first.problems.coefficients, same.problems.coefficients, rtol=0, atol=0)
    assert not torch.equal(first.densities, other.densities)


def test_geometries_are_of_every_kernel():
    generator = np.random.default_rng(0)
    assert {random_geometry(generator).kernel for _ in range(60)} == set(Kernel)


def test_a_training_that_is_restored_goes_on_with_the_same_bits():
    whole, first, second = tiny_training(), tiny_training(), tiny_training(seed=1)
    second._seed = 0
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    second.restore(first.state())
    for _ in range(2):
        second.step()
    for ours, theirs in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_every_weight_learns():
    training = tiny_training()
    before = [parameter.clone() for parameter in training.network.parameters()]
    for _ in range(4):
        training.step()
    assert all(
        not torch.equal(parameter, old)
        for parameter, old in zip(training.network.parameters(), before, strict=True)
        if parameter.requires_grad
    )


@pytest.mark.slow
def test_training_lowers_the_error():
    training, batches = tiny_training(steps=150), held_out(Stream.JUDGES, 10, 10, 0)
    before = judged(training.network, batches).mean()
    for _ in range(150):
        training.step()
    assert judged(training.network, batches).mean() < 0.9 * before


def test_bands_hold_as_many_true_values_as_they_say_where_they_were_calibrated():
    network = UnrolledNetwork(stages=2, channels=4).requires_grad_(False)
    batches = held_out(Stream.CALIBRATES, 12, 8, 0)
    bands, held = calibrated(network, batches), []
    for batch in batches:
        found = network(batch.problems)
        largest = batch.problems.singular[:, 0].tolist()
        factors = torch.tensor([bands.of(value, is_even=batch.problems.is_even).values for value in largest])
        held.append((found.density - batch.densities).abs() <= factors[:, None] * found.scale)
    assert torch.cat(held).double().mean().item() == pytest.approx(0.9, abs=0.002)
    covered = coverage(network, bands, batches)
    assert covered.values.mean().item() == pytest.approx(torch.cat(held).double().mean().item())
    for peaks in (covered.positions, covered.weights):
        assert 0.9 <= peaks.mean().item() < 1


def test_a_model_is_read_as_it_was_written(tmp_path):
    network = UnrolledNetwork(stages=3, channels=4)
    bands = calibrated(network, held_out(Stream.CALIBRATES, 2, 4, 0, WIDE))
    ContinuationModel(network, bands, 3, 4).save(tmp_path / "model.safetensors")
    found = load_model(tmp_path / "model.safetensors")
    assert (found.stages, found.channels) == (3, 4)
    for name in Factors._fields:
        assert torch.equal(getattr(found.bands, name), getattr(bands, name))
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], tensor)
