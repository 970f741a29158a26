"""The demo's last sentences say what intervals allow, and what the searched cell costs."""

import json

import pytest

from e2rnas.cli.demo_sentence import how_decided, in_a_sentence
from tests.support.runs.folders import accuracy, write_network, write_robustness, write_search


@pytest.fixture
def evaluated(tmp_path):
    """A run folder by its name, channels, and images of 200 that are right under attack."""

    def make(name, channels, right):
        folder = tmp_path / name
        description = write_network(folder, name=name, channels=channels)
        write_robustness(folder, description, [accuracy("clean", 190), accuracy("pgd-20", right)])
        return folder

    return make


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        (100, "cannot be told from other by 200 images and one training each"),
        (40, "is more robust than other"),
        (170, "is less robust than other"),
    ],
)
def test_the_searched_cell_is_set_beside_others_by_intervals(right, verdict, evaluated):
    text = in_a_sentence(evaluated("searched", 4, 104), {"other": evaluated("other", 4, right)})
    assert text.startswith("Under pgd-20 the searched cell's 95 % interval is 45.1 to 58.8 %.")
    assert verdict in text
    assert "1.00 and 1.00 times those of other" in text


def test_what_it_costs_is_said_beside_the_others(evaluated):
    text = in_a_sentence(evaluated("searched", 8, 104), {"other": evaluated("other", 4, 100)})
    more = [float(word) for word in text.split(", ")[-1].split() if word[0].isdigit()]
    assert all(2 < factor < 4.5 for factor in more), text


@pytest.mark.parametrize(("entropy", "said"), [(0.548, "had 55 % of the entropy"), (None, "")])
def test_how_far_the_alphas_decided_is_said_where_it_was_measured(tmp_path, entropy, said):
    write_search(tmp_path)
    content = json.loads((tmp_path / "search.json").read_text())
    signs = {"weight_free": {"normal": 1, "reduction": 2}, "entropy": entropy}
    (tmp_path / "search.json").write_text(json.dumps(content | {"diagnostics": signs}))
    assert said in how_decided(tmp_path)
    assert bool(said) == bool(how_decided(tmp_path))
