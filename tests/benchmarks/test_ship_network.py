"""The command that ships a trained network with its card."""

import json
import sys
from dataclasses import replace

import pytest
import ship_network

from pipeline.errors import RunError
from pipeline.networks.network_files import load_network
from tests.support.runs.exported import write_network
from tests.support.runs.exported_files import ATTACKED, CLEAN
from tests.support.runs.folders import write_robustness

STRONGER = replace(ATTACKED, attack="autoattack")


@pytest.fixture
def folder(tmp_path):
    """A run folder with a network and its figures."""
    run = tmp_path / "runs" / "mine"
    write_robustness(run, write_network(run), [CLEAN, ATTACKED, STRONGER], checks=None)
    return run


def test_network_figures_and_card_are_written_and_nothing_is_overwritten_unasked(folder, tmp_path):
    card = ship_network.ship(folder, "theirs", tmp_path / "shipped")
    assert load_network(card.parent).state_sha256 == load_network(folder).state_sha256
    assert json.loads((card.parent / "robustness.json").read_text())["protocols"][0]["attacks"][2]["accuracy"] == 0.75
    text = card.read_text()
    assert "# theirs\n" in text
    assert 'e2rnas.load("theirs")' in text
    assert f"python scripts/retrain.py \\\n  run={folder} " in text
    with pytest.raises(RunError, match="choose another --name, or --replace it"):
        ship_network.ship(folder, "theirs", tmp_path / "shipped")
    assert ship_network.ship(folder, "theirs", tmp_path / "shipped", replace=True) == card


def test_what_is_too_large_or_was_not_measured_is_not_shipped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ship_network, "LARGEST_TOGETHER", 1000)
    with pytest.raises(RunError, match="at most 1,000 are shipped"):
        ship_network.ship(folder, "theirs", tmp_path / "shipped")
    write_network(folder, channels=5)
    with pytest.raises(RunError, match=r"no figures of its network under pgd-20, autoattack; run evaluate\.py first"):
        ship_network.ship(folder, "theirs", tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_a_folder_without_a_network_ends_in_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ship_network.py", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        ship_network.main()
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n"), "network.json does not exist" in err) == (2, 1, True)
