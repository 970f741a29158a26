"""A stage that is killed at random moments and started again until it ends leaves the bits of an unkilled one."""

import sys

import kills
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), list(zip(kills.STAGES, kills.shares(20, 3), strict=True)))
def test_a_stage_killed_at_random_moments_ends_in_the_same_bits(tmp_path, name, count):
    outcome = kills.killed(kills.STAGES[name], tmp_path, count, seed=1)
    assert outcome.kills == count
    assert outcome.differences == []


def test_files_are_compared_byte_for_byte_but_for_times(tmp_path):
    stage = kills.Stage("search", (), ("a.json", "b.bin"))
    (tmp_path / "b.bin").write_bytes(b"bits")
    found = []
    for content in ('{"x": [{"seconds": 1}], "y": 2}', '{"x": [{"seconds": 9}], "y": 2}', '{"x": [{}], "y": 3}'):
        (tmp_path / "a.json").write_text(content)
        found.append(kills.contents(stage, tmp_path))
    assert found[0] == found[1] != found[2]
    (tmp_path / "b.bin").write_bytes(b"bitt")
    assert kills.contents(stage, tmp_path)["b.bin"] != found[0]["b.bin"]


def test_kills_are_shared_evenly():
    assert list(kills.shares(20, 3)) == [7, 7, 6]


@pytest.mark.slow
def test_the_benchmark_writes_a_line_a_stage(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kills.py", "--kills", "3", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        kills.main()
    assert not stop.value.code
    text = (tmp_path / "kills.md").read_text()
    assert [line.split(" | ")[:2] for line in text.splitlines() if line.endswith("none |")] == [
        [f"| {name}", "1"] for name in kills.STAGES
    ]
