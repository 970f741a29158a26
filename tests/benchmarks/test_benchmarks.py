"""The measuring scripts: their fits find what was planted, and each runs to its table and picture at a tiny size."""

import re
import sys

import followed_searches
import growth
import memory
import numpy as np
import pytest
import record
import side_by_side
import torch
import variants


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, arguments)])
    module.main()


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.0])
def test_an_exponent_is_the_planted_one_and_its_deviation_that_of_a_point_that_is_off(planted):
    values = [4, 8, 16, 32]
    exact = [3e-3 * value**planted for value in values]
    assert growth.exponent(values, exact) == pytest.approx((planted, 0), abs=1e-12)
    noisy = [seconds * factor for seconds, factor in zip(exact, [1.1, 1 / 1.1, 1 / 1.1, 1.1], strict=True)]
    assert growth.exponent(values, noisy) == pytest.approx((planted, 0.1))  # symmetric: the slope stays


def test_operations_come_in_pairs_from_the_published_ones():
    assert growth.first_operations(2) == ("sep_conv_3x3", "skip_connect")
    assert len(set(growth.first_operations(8))) == 8
    with pytest.raises(ValueError, match="in pairs, 2 to 8, found 3"):
        growth.first_operations(3)


def test_the_line_of_memory_is_the_planted_one_and_its_largest_batch_just_fits():
    series = memory.Series("first order", [(batch, 0.5 + 0.125 * batch, 1.0) for batch in (4, 8, 24)])
    assert series.line() == pytest.approx((0.5, 0.125))
    largest = series.largest(24)
    assert series.predicted(largest) <= 24 < series.predicted(largest + 1)
    assert largest == 188


def test_cosines_are_those_of_the_gradients_that_both_have():
    torch.manual_seed(0)
    a, b = torch.randn(50), torch.randn(50)
    exact = {"robustness": b, "accuracy": b, "parameters": b}
    found = followed_searches.cosines({"robustness": a, "parameters": a}, exact)
    x, y = a.numpy(), b.numpy()
    expected = np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
    assert found == {"robustness": pytest.approx(expected, abs=1e-6)}


def test_a_table_is_markdown():
    assert record.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_growth_writes_its_tables_and_pictures(tmp_path, monkeypatch):
    tiny = ["--base-channels", 2, "--base-layers", 3, "--base-batch", 2, "--size", 8, "--steps", 1, "--repeats", 1]
    values = ["--channels", 2, 4, "--layers", 3, 4, "--batch", 2, 4, "--operations", 2, 8]
    run(growth, monkeypatch, *tiny, *values, "--results", tmp_path)
    text = (tmp_path / "growth.md").read_text()
    assert len(re.findall(r"^\| \w[^|]* \| \d+ \|", text, re.MULTILINE)) == 8
    for kind in growth.KINDS:
        assert (tmp_path / f"growth-{kind}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_memory_measures_processes_of_their_own_and_writes_its_table_and_picture(tmp_path, monkeypatch):
    ways = ["--ways", "first order", "first order, recomputed"]
    tiny = ["--channels", 4, "--layers", 3, "--size", 16, "--batches", 32, 192]
    run(memory, monkeypatch, *tiny, *ways, "--results", tmp_path)
    assert "| first order, recomputed | 192 |" in (tmp_path / "memory.md").read_text()
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_variants_follow_searches_and_final_cells_and_write_table_and_pictures(tmp_path, monkeypatch):
    tiny = ["data.limit=80", "data.test_limit=20", "search.epochs=2", "retrain.epochs=1", "search.batch_size=20"]
    tiny += ["search.channels=2", "search.derived_channels=4", "retrain.channels=4", "retrain.batch_size=20"]
    tiny += ["objectives.parameters=[null,1e5]", "attack.step=0.05", "fabric.accelerator=cpu"]
    run(
        variants,
        monkeypatch,
        *["--variants", "carry-over 1", "--variant", "other space", "space.operations=[sep_conv_3x3,skip_connect]"],
        *["--base", *tiny, "--seeds", 0, "--runs", tmp_path / "runs", "--results", tmp_path],
    )
    text = (tmp_path / "variants-digits.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert set(rows) == {"variant", "---", "PGD-7", "carry-over 1", "other space"}
    assert 0 < float(rows["carry-over 1"][1]) < 1
    assert float(rows["carry-over 1"][2]) == 1  # clean images are not attacked: the same gradient
    assert rows["other space"][1] == "nan"  # other alphas: nothing to compare
    assert rows["PGD-7"][3].startswith("1.00")
    assert float(rows["carry-over 1"][3].split()[0]) < 1
    assert (tmp_path / "runs" / "digits" / "carry-over-1" / "seed0" / "robustness.json").exists()
    for name in ("cosine", "accuracy"):
        assert (tmp_path / f"variants-digits-{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_seeds_side_by_side_are_timed_beside_one_alone(monkeypatch, tmp_path):
    run(side_by_side, monkeypatch, "--counts", 1, 2, "--repeats", 1, "--threads", 1, "--results", tmp_path)
    table = (tmp_path / "side_by_side.md").read_text()
    assert len(re.findall(r"\| 1.00 \| \d\.\d\d \|", table)) == len(side_by_side.CELLS), table
