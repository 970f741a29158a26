"""What is recorded and replayed is the call itself, on the CPU with a stand-in for torch.cuda.CUDAGraph."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from attacks import checked_later
from attacks.later_checks import check
from pipeline.compute import graphs
from pipeline.compute.graphs import CapturedCall, captured, graphs_of
from pipeline.errors import RunError
from pipeline.search.image_objectives import capture_of, uncaptured
from pipeline.settings import Experiment, FabricSettings, SearchAttackSettings, SearchSettings
from search_space.supernet.relaxation import Relaxation
from tests.support.recorded_operations import RecordedOperations

CUDA = SimpleNamespace(device=torch.device("cuda"), world_size=1)


@pytest.fixture
def stand_in(monkeypatch):
    """A machine with a GPU, as far as settings ask, whose graphs are the stand-in's."""
    monkeypatch.setitem(graphs.GRAPHS, "cuda", lambda: RecordedOperations)


def gradients(network, called):
    """A loss with noise, and its gradient in each weight; `called` counts the calls in Python."""

    def function(images, labels):
        called.append(len(images))
        noisy = images + torch.empty_like(images).uniform_(-0.1, 0.1)
        loss = nn.functional.cross_entropy(network(noisy), labels)
        return [loss.detach(), *torch.autograd.grad(loss, list(network.parameters()))]

    return function


def batches(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(size, 5, generator=generator), torch.arange(size) % 3) for size in sizes]


def results(call, network, given):
    """What calls give, each followed by a change of the weights in place."""
    torch.manual_seed(1)
    found = []
    for batch in given:
        found.append([each.clone() for each in call(*batch)])
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(0.9)
    return found


def test_replays_have_the_bits_of_calls_for_other_inputs_weights_and_random_numbers():
    networks = [nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    called = []
    plain = results(gradients(networks[0], []), networks[0], batches(4, 4, 4))
    replayed = results(CapturedCall(gradients(networks[1], called), RecordedOperations), networks[1], batches(4, 4, 4))
    torch.testing.assert_close(replayed, plain, rtol=0, atol=0)
    assert called == [4, 4]  # to warm up and to record


def test_a_last_smaller_batch_is_computed_by_the_function_itself():
    network, called = nn.Linear(5, 3), []
    call = CapturedCall(gradients(network, called), RecordedOperations)
    lengths = [len(call(*batch)) for batch in batches(4, 2, 4)]
    assert lengths == [3, 3, 3]
    assert called == [4, 4, 2]


def test_results_stay_as_they_are_when_the_next_call_is_replayed():
    call = CapturedCall(lambda numbers: [2 * numbers], RecordedOperations)
    (first,) = call(torch.ones(2))
    (second,) = call(torch.full((2,), 5.0))
    assert (first.tolist(), second.tolist()) == ([2, 2], [10, 10])


def refuse_negative(read):
    if min(read) < 0:
        raise ValueError("expected no negative number")


def checking(numbers):
    check(numbers, refuse_negative)
    return [numbers.sqrt()]


def test_checks_are_made_of_each_call_and_by_whoever_collects_them():
    call = CapturedCall(checking, RecordedOperations)
    for numbers in (torch.ones(2), torch.tensor([4.0, -1.0])):  # both are read after the second call
        with checked_later() as checks:
            call(numbers)
        read = torch.cat(checks.values).tolist()
        assert read == numbers.tolist()
    with pytest.raises(ValueError, match="no negative"):
        checks.judge(read)
    with pytest.raises(ValueError, match="no negative"):
        call(torch.tensor([-1.0, 1.0]))
    assert call(torch.ones(2))[0].tolist() == [1, 1]


def test_a_call_that_reads_a_value_is_refused_in_one_line_that_says_what_to_do():
    call = CapturedCall(lambda numbers: [numbers * numbers.sum().item()], RecordedOperations)
    with pytest.raises(RunError, match=r"^a step cannot be recorded as a graph \(.*\); use fabric.graphs=off$"):
        call(torch.ones(2))


def test_memory_that_does_not_suffice_is_no_reason_to_turn_graphs_off():
    class Full(RecordedOperations):
        def record(self, call):
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        CapturedCall(lambda numbers: [numbers], Full)(torch.ones(2))


@pytest.mark.parametrize(
    ("settings", "changes"),
    [({"graphs": "off"}, {}), ({}, {"world_size": 2}), ({}, {"device": torch.device("cpu")})],
)
def test_runs_without_graphs_make_their_calls_themselves(stand_in, settings, changes):
    assert graphs_of(FabricSettings(), CUDA) is RecordedOperations
    assert graphs_of(FabricSettings(**settings), SimpleNamespace(**vars(CUDA) | changes)) is None
    assert captured(checking, None) is checking


@pytest.mark.parametrize(
    ("changes", "relaxation", "is_captured"),
    [
        ({}, {}, True),
        ({}, {"normalised_edges": True, "beta_decay": 50.0}, True),
        ({}, {"operations": "sigmoid", "zero_one": 10.0}, True),
        ({}, {"operations": "gumbel"}, False),
        ({}, {"auxiliary_skip": 1.0}, False),
        ({}, {"paths": 2}, False),
        ({"search": SearchSettings(recompute=True)}, {}, False),
        ({"attack": SearchAttackSettings(carry_over=True)}, {}, False),
        ({"fabric": FabricSettings(graphs="off")}, {}, False),
    ],
)
def test_a_search_is_recorded_where_its_steps_differ_in_values_alone(stand_in, changes, relaxation, is_captured):
    found = capture_of(Experiment(**changes), Relaxation(**relaxation), CUDA)
    assert (found is not uncaptured) == is_captured
