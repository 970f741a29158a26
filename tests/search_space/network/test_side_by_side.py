"""Networks side by side compute, and are trained, as each of them alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from search_space import DARTS_OPERATIONS, PUBLISHED, Genotype, Network, SearchSpace
from search_space.network.side_by_side import SideBySide

COUNT = 3
NASBENCH201 = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SPACES = {
    "darts": SearchSpace(operations=(*DARTS_OPERATIONS, "conv_7x1_1x7", "sep_conv_7x7")),
    "nasbench201": SearchSpace(nodes=3, operations=NASBENCH201, family="nasbench201"),
}


def networks(genotype: Genotype, *, channels: int = 4) -> list[Network]:
    torch.manual_seed(0)
    made = [Network(genotype, channels=channels, layers=3, in_channels=1, mean=[0.3], std=[0.4]) for _ in range(COUNT)]
    for network in made:
        for buffer in network.buffers():
            if buffer.is_floating_point() and buffer.ndim == 1:
                buffer.uniform_(0.5, 1.5)
    return made


def images() -> Tensor:
    return torch.rand(6, COUNT, 1, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", SPACES)
@pytest.mark.parametrize("training", [False, True])
def test_logits_statistics_and_gradients_are_those_of_each_network_alone(family: str, training: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        alone = [network.double().train(training) for network in networks(SPACES[family].random_genotype(generator))]
        together = SideBySide(alone).train(training)
        inputs = images().double().requires_grad_()
        labels = torch.arange(6) % 10
        logits = together(inputs.flatten(0, 1)).reshape(6, COUNT, -1)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(COUNT)) * COUNT
        slopes = torch.autograd.grad(loss, [inputs, *together.parameters()], materialize_grads=True)
        for index, network in enumerate(alone):
            own = images()[:, index].double().requires_grad_()
            expected = network(own)
            torch.testing.assert_close(logits[:, index], expected)
            leaves = [own, *network.parameters()]
            found = torch.autograd.grad(F.cross_entropy(expected, labels), leaves, materialize_grads=True)
            torch.testing.assert_close(slopes[0][:, index], found[0])
            for slope, other in zip(slopes[1:], found[1:], strict=True):
                torch.testing.assert_close(together.blocks(slope)[index].reshape(other.shape), other)
            for buffer, other in zip(together.buffers(), network.buffers(), strict=True):
                if buffer.ndim == 1:
                    torch.testing.assert_close(together.blocks(buffer)[index], other)


def test_one_network_beside_none_is_itself() -> None:
    (network, *_) = networks(PUBLISHED["DARTS_V2"].genotype)
    inputs = images()[:, 0]
    torch.testing.assert_close(SideBySide([network]).eval()(inputs), network.eval()(inputs))


def test_the_networks_are_copied_and_stay_as_they_are() -> None:
    alone = networks(PUBLISHED["DARTS_V2"].genotype)
    before = [{name: values.clone() for name, values in network.state_dict().items()} for network in alone]
    together = SideBySide(alone).train()
    F.cross_entropy(together(images().flatten(0, 1)), torch.zeros(6 * COUNT, dtype=torch.int64)).backward()
    with torch.no_grad():
        for weights in together.parameters():
            weights.zero_()
    for network, state in zip(alone, before, strict=True):
        assert all(torch.equal(values, state[name]) for name, values in network.state_dict().items())


def test_networks_that_differ_are_refused() -> None:
    first, second = (networks(PUBLISHED[name].genotype)[0] for name in ("DARTS_V2", "DARTS_V1"))
    wider = networks(PUBLISHED["DARTS_V2"].genotype, channels=8)[0]
    for others in ([first, second], [first, wider]):
        with pytest.raises(ValueError, match="of one genotype, with the same channels"):
            SideBySide(others)
    with pytest.raises(ValueError, match="at least one network"):
        SideBySide([])
    with pytest.raises(ValueError, match="have no auxiliary head; build them with auxiliary=False"):
        SideBySide([Network(first.genotype, channels=4, layers=3, auxiliary=True)])
