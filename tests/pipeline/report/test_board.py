"""The board of runs: its orders, its front, and how the page chooses among them without a script."""

import re

import pytest

from pipeline.report.html import page
from pipeline.report.sweeps.board import board, on_front
from tests.support.runs.folders import accuracy


def row(label, parameters, clean, robust):
    cost = parameters and {"parameters": parameters, "conv_linear_macs": 10 * parameters}
    accuracies = {"clean": accuracy("clean", clean), "pgd-20": robust and accuracy("pgd-20", robust)}
    return {"label": label, "link": "", "group": "-", "cost": cost, "accuracies": accuracies}


ROWS = [
    row("large", 3000, 190, 120),
    row("small", 1000, 180, 100),
    row("beaten", 3000, 180, 110),
    row("uncounted", None, 199, 130),
    row("unmeasured", 500, 100, None),
]


def order_of(found, name):
    column = found["orders"].index(name)
    return [each["label"] for each in sorted(found["runs"], key=lambda each: each["places"][column])]


def test_the_first_order_is_by_the_strongest_attack_and_what_was_not_met_comes_last():
    found = board(ROWS, "pgd-20")
    assert found["orders"] == ["pgd-20", "clean", "parameters", "MACs"]
    assert order_of(found, "pgd-20") == ["uncounted", "large", "beaten", "small", "unmeasured"]
    assert order_of(found, "parameters") == ["unmeasured", "small", "large", "beaten", "uncounted"]


def test_the_front_holds_what_no_measured_run_beats():
    assert [ROWS[index]["label"] for index in on_front(ROWS, "pgd-20")] == ["large", "small"]
    assert on_front([], "clean") == []


@pytest.fixture
def overview():
    values = {key: [] for key in ("tiles", "notes", "groups", "asked", "shared", "pictures")}
    return page(
        "overview.html.j2",
        values
        | board(ROWS, "pgd-20")
        | {"label": "runs", "folder": "runs", "lead": "", "attacks": ["clean", "pgd-20"], "command": ""},
    )


def test_the_page_sorts_by_a_choice_and_runs_no_script(overview):
    choices = re.findall(r'<input type="radio" name="by" id="(by-\d)"( checked)?>', overview)
    assert [name for name, _ in choices] == ["by-0", "by-1", "by-2", "by-3"]
    assert [bool(checked) for _, checked in choices] == [True, False, False, False]
    for name, _ in choices:
        assert f".board:has(#{name}:checked) tbody tr {{ order: var(--p{name[-1]}); }}" in overview
    assert "<script" not in overview
    assert overview.count("★ </span>") == 2
    assert overview.count('<tr class="beaten"') == 3
