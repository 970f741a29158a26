"""A network that is given away is the one that comes back, and neither way runs code or loses files of others."""

import importlib.util
import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors import safe_open

import e2rnas
from pipeline.export import hub
from pipeline.networks.network_files import load_network
from pipeline.networks.state_digest import state_sha256
from tests.support.runs.exported import write_network
from tests.support.runs.exported_files import listing, write_figures


@pytest.fixture
def folder(tmp_path):
    """A run folder with a network and its figures."""
    run = tmp_path / "runs" / "mine"
    write_figures(run, write_network(run), None)
    return run


def test_what_is_pushed_comes_back_with_the_same_weights_and_logits(folder, tmp_path):
    pushed = e2rnas.push_to_hub(folder, folder=tmp_path / "shared")
    assert {path.name for path in pushed.folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert str(pushed).count("\n") == 2
    back, before = e2rnas.from_pretrained(pushed.folder), load_network(folder).network
    assert not back.training
    assert state_sha256(back) == state_sha256(before)
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(back(images), before(images), rtol=0, atol=0)


def test_the_files_say_all_that_the_run_folder_says(folder):
    pushed = e2rnas.push_to_hub(e2rnas.Run(folder))
    assert pushed.folder == folder / "hub"
    config = json.loads((pushed.folder / "config.json").read_text())
    assert config == json.loads((folder / "network.json").read_text())
    with safe_open(pushed.folder / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["network"])["genotype"] == config["genotype"]
    card = (pushed.folder / "README.md").read_text()
    assert f'e2rnas.from_pretrained("{pushed.folder}")' in card
    assert "| pgd-20 | 75.0 % | 59.8 to 85.8 | 40 |" in card


def test_an_upload_makes_the_repository_and_sends_these_files_alone(folder, monkeypatch):
    calls = []
    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, **named: calls.append((name, named)) or "address")
    monkeypatch.setattr(huggingface_hub, "upload_folder", lambda **named: calls.append(named))
    pushed = e2rnas.push_to_hub(folder, "me/mine", private=False)
    made, sent = calls
    assert made == ("me/mine", {"private": False, "exist_ok": True})
    assert sent == {
        "repo_id": "me/mine",
        "folder_path": folder / "hub",
        "allow_patterns": ["model.safetensors", "config.json", "README.md"],
    }
    assert str(pushed).endswith("\nuploaded to address")
    assert 'e2rnas.from_pretrained("me/mine")' in (folder / "hub" / "README.md").read_text()


def test_a_repository_is_read_from_what_the_hub_downloads(folder, monkeypatch):
    shared, asked = e2rnas.push_to_hub(folder).folder, []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **named: asked.append((name, named)) or str(shared)
    )
    network = e2rnas.from_pretrained("me/mine", revision="v1")
    assert state_sha256(network) == load_network(folder).state_sha256
    assert asked == [("me/mine", {"revision": "v1", "allow_patterns": ["config.json", "model.safetensors"]})]


def test_what_the_hub_answers_is_one_line(folder, monkeypatch):
    def refuse(*args, **named):
        raise ConnectionError("401: no token\nand much more")

    for call in ("create_repo", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, call, refuse)
    with pytest.raises(ValueError, match=r"^me/mine: the hub cannot be used: 401: no token$"):
        e2rnas.push_to_hub(folder, "me/mine")
    with pytest.raises(ValueError, match=r"^me/mine: the hub cannot be used: 401: no token$"):
        e2rnas.from_pretrained("me/mine")


def test_without_the_package_a_line_says_how_to_install_it_and_nothing_is_written(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    before = listing(folder)
    with pytest.raises(ValueError, match="me/mine is of the hub, which needs huggingface_hub: pip install -e "):
        e2rnas.push_to_hub(folder, "me/mine")
    assert listing(folder) == before


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ("a/b/c", "expected a folder, or a repository such as user/name, found 'a/b/c'"),
        ("{folder}", "config.json does not exist; scripts/push.py writes it"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(reference, wrong, folder):
    with pytest.raises(ValueError, match=wrong):
        e2rnas.from_pretrained(reference.format(folder=folder))
    with pytest.raises(ValueError, match="revision='v1' is of a repository"):
        e2rnas.from_pretrained(folder, revision="v1")


def test_weights_that_are_not_those_of_the_description_are_refused(folder):
    shared = e2rnas.push_to_hub(folder).folder
    config = json.loads((shared / "config.json").read_text())
    (shared / "config.json").write_text(json.dumps(config | {"channels": 5}))
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit the network of config\.json: \d+ tensors"):
        e2rnas.from_pretrained(shared)


@pytest.mark.parametrize("name", hub.HUB_FILES)
def test_files_of_something_else_stay(name, folder, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / name).write_text('{"theirs": 1}')
    with pytest.raises(ValueError, match=r"of something else; choose another|is not what push"):
        e2rnas.push_to_hub(folder, folder=theirs)
    assert listing(theirs) == {theirs / name: b'{"theirs": 1}'}


def test_the_program_writes_the_same_files(folder, tmp_path, call_script):
    status, out, err = call_script("push", f"run={folder}", f"push.folder={tmp_path / 'shared'}")
    assert (status, err) == (0, "")
    assert [Path(line.partition(": ")[0]).name for line in out.splitlines()] == list(hub.HUB_FILES)
    again = e2rnas.push_to_hub(folder, folder=tmp_path / "again").folder
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (tmp_path / "shared" / name).read_bytes()


def test_a_folder_without_a_network_ends_in_one_line_and_status_2(tmp_path, call_script):
    status, _, err = call_script("push", f"run={tmp_path / 'none'}")
    assert (status, err.count("\n")) == (2, 1)
    assert "network.json does not exist; train a network first" in err
    assert not (tmp_path / "none").exists()
