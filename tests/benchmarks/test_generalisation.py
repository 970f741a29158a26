"""Tasks of benchmarks/generalisation.py: what they span, that none trains or chooses, and how the script ends."""

import json
import math
import re
import sys
from dataclasses import replace

import generalisation
import pytest
import torch
from generalisation_tasks import DEVELOPMENT, JUDGING, data
from generalisation_tasks.comparison import BEST, DEFAULT, Entry
from generalisation_tasks.contestants import ADAMW, Contestant, Outcome, contestants, curve_steps, train
from generalisation_tasks.runs import FinishedRuns, key_of
from generalisation_tasks.task import count_weights

from learned_optimizers.tasks import TASK_FAMILIES, buckets

COLOURS = data.divided(torch.rand(40, 3, 32, 32), torch.arange(40) % 10, 10)
"""In the place of CIFAR-10, where only shapes count."""


def examples_of(task):
    return COLOURS if task.needs_cifar else task.examples()


def named(name):
    return next(task for task in (*JUDGING, *DEVELOPMENT) if task.name == name)


def test_at_least_30_tasks_judge_that_need_no_file():
    assert sum(not task.needs_cifar for task in JUDGING) >= 30
    assert {task.family for task in DEVELOPMENT} == {task.family for task in JUDGING} - {"other units"}


def test_the_tasks_that_judge_span_what_is_said_of_them():
    dense = [task.sizes for task in JUDGING if task.network == "perceptron"]
    assert {2, 8} <= {sizes["depth"] for sizes in dense} <= set(range(2, 9))
    assert (min(sizes["width"] for sizes in dense), max(sizes["width"] for sizes in dense)) == (16, 2048)
    assert (min(task.batch_size for task in JUDGING), max(task.batch_size for task in JUDGING)) == (8, 512)
    assert {task.steps for task in JUDGING} == {200, 1000, 5000}
    assert {task.unit for task in JUDGING} == {1.0, 100.0, 0.01}
    convolutions = {(task.sizes["norm"], task.source) for task in JUDGING if task.network == "convolutions"}
    for source in ("digits, 0 to 16", "digits, standardised", "cifar, standardised"):
        assert {norm for norm, found in convolutions if found == source} == {True, False}
    assert {task.network for task in JUDGING} >= {"residual_convolutions", "cell", "supernet", "recurrent", "attention"}


def test_the_networks_that_judge_have_a_thousand_to_ten_million_weights():
    smallest, largest = named("8-16, batch 32, 5,000 steps"), named("4 x 2048, batch 32")
    assert 1e3 <= count_weights(smallest.build(smallest.examples(), 0)) < 2e3
    assert 1e7 < count_weights(largest.build(largest.examples(), 0)) < 2e7


def test_no_task_that_judges_is_one_of_the_development_list():
    names = [task.name for task in (*JUDGING, *DEVELOPMENT)]
    assert len(names) == len(set(names))
    trainings = [replace(task, name="", family="") for task in (*JUDGING, *DEVELOPMENT)]
    assert len({task.fingerprint for task in trainings}) == len(trainings)
    of_development = {(task.network, repr(sorted(task.sizes.items()))) for task in DEVELOPMENT}
    assert not of_development & {(task.network, repr(sorted(task.sizes.items()))) for task in JUDGING}


def sizes_of(tensors):
    return sorted(tensor.numel() for tensor in tensors)


def test_no_task_that_judges_has_the_network_of_one_that_trains_optimizers():
    generator = torch.Generator().manual_seed(0)
    trained = [sizes_of(bucket.task(0, 0).initial(generator)) for bucket in buckets(list(TASK_FAMILIES))]
    for task in JUDGING:
        if task.sizes.get("width", 0) < 1000:  # much larger than all of them
            assert sizes_of(task.build(examples_of(task), 0).parameters()) not in trained, task.name


SMALL = [task for task in (*JUDGING, *DEVELOPMENT) if task.sizes.get("width", 0) < 700]


@pytest.mark.parametrize("task", SMALL, ids=[task.name for task in SMALL])
def test_a_task_is_the_same_for_a_seed_and_its_network_learns(task):
    examples = examples_of(task)
    small = replace(task, batch_size=4)
    assert {len(part[0]) > 0 for part in (examples.train, examples.held_out)} == {True}
    chosen = small.batches(examples, 3, 2)
    assert all(torch.equal(a, b) for a, b in zip(chosen, small.batches(examples, 3, 2), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(chosen, small.batches(examples, 4, 2), strict=True))
    state = torch.get_rng_state()
    network, again, other = (small.build(examples, seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    loss, same, different = (
        small.batch_loss(one, examples.train[0][chosen[0]], examples.train[1][chosen[0]])
        for one in (network, again, other)
    )
    assert loss.isfinite()
    assert loss == same != different
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


def test_a_training_that_explodes_is_infinite_and_not_trained():
    task = named("3 x 48, batch 48")
    explosive = Contestant("x", (None,), lambda weights, _: torch.optim.SGD(weights, lr=1e30))
    outcome = train(task, task.examples(), explosive, None, 0, 12)
    assert math.isfinite(outcome.first)
    assert (outcome.final, outcome.held_out, outcome.curve[-1]) == (math.inf, math.inf, math.inf)
    entry = Entry(None, [outcome])
    assert not entry.is_trained
    assert entry.has_risen


def test_finished_trainings_are_read_again_also_behind_a_line_that_is_half(tmp_path):
    task, path = named("3 x 48, batch 48"), tmp_path / "x" / "trainings.jsonl"
    contestant = next(one for one in contestants([]) if one.name == ADAMW)
    keys = [key_of(task, contestant, rate, 0, 40) for rate in contestant.rates[:2]]
    outcome = Outcome(2.0, 3.0, math.inf, 1.5, (2.0, math.inf), 0.001)
    runs = FinishedRuns(path)
    runs.add(keys[0], outcome)
    with path.open("a") as file:
        file.write('{"task": "3 x')
    again = FinishedRuns(path)
    assert again[keys[0]] == outcome
    assert keys[1] not in again
    again.add(keys[1], outcome)
    assert keys[1] in FinishedRuns(path)
    changed = key_of(replace(task, batch_size=47), contestant, contestant.rates[0], 0, 40)
    assert changed not in FinishedRuns(path)


@pytest.mark.parametrize("steps", [2, 20, 21, 200, 1000, 5000])
def test_a_curve_has_its_points_at_steps_up_to_the_last(steps):
    found = curve_steps(steps)
    assert found[-1] == steps
    assert found == sorted(set(found))
    assert found[0] >= min(20, steps)
    assert len(found) <= 201


def test_known_rates_leave_those_and_the_default_to_be_trained(tmp_path):
    best = {BEST: {"rate": 0.03}, generalisation.BEST_SGD: {"rate": 0.3}, "learned: mlp": {"rate": None}}
    tasks = [{"task": "3 x 48, batch 48", "optimizers": best}]
    (tmp_path / "record.json").write_text(json.dumps({"tasks": tasks}))
    rates = generalisation.known_rates(tmp_path / "record.json")
    sized = [(named(name), 1) for name in ("3 x 48, batch 48", "10-30, batch norm")]
    chosen = generalisation.Chosen(sized, contestants(["mlp"]), 2, None, None, rates)
    tried = [(key.task, key.optimizer, key.rate) for key, *_ in chosen.trainings() if key.seed == 1]
    assert [(name, rate) for task, name, rate in tried if task == sized[0][0].name and name == ADAMW] == [
        (ADAMW, 1e-3),
        (ADAMW, 0.03),
    ]
    assert sum(task == sized[0][0].name for task, name, _ in tried if name != ADAMW and "Free" not in name) == 2
    assert sum(task == sized[1][0].name for task, name, _ in tried if name == ADAMW) == 7


@pytest.mark.slow
def test_the_script_writes_table_picture_and_figures_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    words = ["--list", "development", "--tasks", "3 x 48*", "rnn of 40*", "--seeds", 2, "--most-steps", 22]
    words += ["--runs", tmp_path / "trainings.jsonl", "--results", tmp_path]
    monkeypatch.setattr(sys, "argv", ["generalisation.py", *map(str, words)])
    generalisation.main()
    text = (tmp_path / "generalisation-development.md").read_text()
    assert (
        "The development list, 2 tasks, 2 seed(s), 15 tasks left out, the trainings of 2 tasks cut to 22 steps" in text
    )
    assert re.search(r"^\| learned: mlp \| \d of 2 \|", text, re.MULTILINE)
    assert "| perceptrons: 3 x 48, batch 48 | 8,314 |" in text
    assert (tmp_path / "generalisation-development.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "generalisation-development.json").read_text())
    assert [task["steps"] for task in figures["tasks"]] == [22, 22]
    entries = figures["tasks"][0]["optimizers"]
    assert entries[BEST]["rate"] in (1e-3, 3e-3, 1e-2, 3e-2)
    assert entries[DEFAULT]["rate"] == 1e-3
    assert min(entries[BEST]["final"]) < min(entries[DEFAULT]["first"])
    rows = (tmp_path / "trainings.jsonl").read_text()
    capsys.readouterr()
    generalisation.main()
    assert (tmp_path / "trainings.jsonl").read_text() == rows
    assert (tmp_path / "generalisation-development.md").read_text() == text


def test_tasks_on_cifar_are_left_out_with_a_line_and_no_task_at_all_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generalisation.py", "--tasks", "colour*"])
    with pytest.raises(SystemExit, match="no task of the list is asked for"):
        generalisation.main()
    assert "8 tasks on CIFAR-10 are left out: give its folder by --cifar" in capsys.readouterr().out
