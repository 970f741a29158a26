"""Cells computed again in the backward pass: the same gradients of every order, with fewer tensors kept."""

import gc

import pytest
import torch
from lightning_fabric import Fabric
from torch.autograd import grad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from e2rnas.cli.app import Refused, compose_experiment
from pipeline.data import load
from pipeline.search.bilevel_search import BilevelSearch
from search_space import SearchSpace, Supernet
from tests.support.scripts import TINY


@pytest.fixture
def supernets():
    """Two supernets of the same weights, the second with recomputation, in float64."""
    made = []
    for recompute in (False, True):
        torch.manual_seed(0)
        space = SearchSpace(nodes=2)
        supernet = Supernet(space, channels=2, layers=3, num_classes=3, in_channels=1, recompute=recompute).double()
        made.append(supernet.to(memory_format=torch.channels_last))
    return made


@pytest.fixture
def batch():
    return torch.rand(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3


def agree(pair):
    for plain, recomputed in zip(*pair, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-12, atol=1e-15)
        assert plain.abs().max() > 0


def test_first_order_gradients_are_the_same(supernets, batch):
    images, labels = batch
    images.requires_grad_()
    agree([grad(F.cross_entropy(net(images), labels), [net.alphas, *net.weights(), images]) for net in supernets])


def test_the_gradient_of_images_is_the_same_with_frozen_weights_as_in_an_attack(supernets, batch):
    images, labels = batch
    images.requires_grad_()
    for net in supernets:
        net.requires_grad_(False)
    agree([grad(F.cross_entropy(net(images), labels), [images]) for net in supernets])


def test_second_derivatives_are_the_same_for_several_vectors_on_one_graph(supernets, batch):
    images, labels = batch
    found = []
    for net in supernets:
        weights, generator = net.weights(), torch.Generator().manual_seed(2)
        slopes = grad(F.cross_entropy(net(images), labels), weights, create_graph=True)
        vectors = [[torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights] for _ in range(2)]
        inputs = [net.alphas, *weights]
        found.append([part for v in vectors for part in grad(slopes, inputs, v, retain_graph=True)])
    agree(found)


def test_a_search_step_with_recomputation_is_the_same_to_the_bit():
    alphas = []
    for recompute in ("false", "true"):
        experiment = compose_experiment([*TINY, f"search.recompute={recompute}"])
        bilevel = BilevelSearch(experiment, load(experiment.data), Fabric(accelerator="cpu"))
        torch.manual_seed(0)
        bilevel.step(*next(bilevel.batches()))
        alphas.append(bilevel.alphas.detach().clone())
    assert torch.equal(*alphas)


def test_recomputation_beside_exact_second_derivatives_is_refused():
    with pytest.raises(Refused, match="saves nothing beside exact second derivatives"):
        compose_experiment(["search.recompute=true", "search.order=unrolled"])
    assert compose_experiment(["search.recompute=true", "search.order=unrolled", "search.hessian=finite_difference"])


def kept_bytes(net, images):
    """Bytes of the tensors that the graph of the logits keeps, each once."""
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = net(images)
    assert logits.requires_grad
    return sum(kept.values())


def test_only_what_enters_and_leaves_cells_is_kept(supernets, batch):
    plain, recomputed = (kept_bytes(net, batch[0]) for net in supernets)
    assert recomputed < plain / 5


def held_bytes(net, images):
    """Bytes that a forward pass leaves in Python's hands, in the attributes of autograd functions, say."""
    gc.collect()
    before = {id(tensor) for tensor in gc.get_objects() if type(tensor) is torch.Tensor}
    logits = net(images)
    assert logits.requires_grad
    gc.collect()
    new = [tensor for tensor in gc.get_objects() if type(tensor) is torch.Tensor and id(tensor) not in before]
    return sum({tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in new}.values())


def test_an_attack_in_float32_with_frozen_weights_holds_less_too():
    images = torch.rand(4, 1, 16, 16, requires_grad=True)
    held = []
    for recompute in (False, True):
        net = Supernet(SearchSpace(nodes=2), channels=8, layers=3, num_classes=3, in_channels=1, recompute=recompute)
        net.requires_grad_(False).to(memory_format=torch.channels_last)
        held.append(max(held_bytes(net, images), kept_bytes(net, images)))
    assert held[1] < held[0] / 5
