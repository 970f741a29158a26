"""A figure is a certificate: the adversarial examples behind it are stored, and checked again by one command."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support.runs.evaluated import THEIRS, images_of

pytestmark = pytest.mark.usefixtures("importable")

ATTACKS = ("fgsm", "pgd-20", "apgd-ce")


@pytest.fixture
def call(tmp_path, call_script):
    def call(*overrides):
        return call_script(
            "evaluate", *THEIRS, f"run={tmp_path / 'run'}", f"evaluate.attacks=[{','.join(ATTACKS)}]", *overrides
        )

    return call


@pytest.fixture
def folder(call, tmp_path):
    status, _, err = call()
    assert status == 0, err
    return tmp_path / "run"


def the_file(folder, attack):
    (found,) = (folder / "adversarial").glob(f"{attack}-*.safetensors")
    return found


def rewritten(path, change):
    """Write the file with other tensors, and the same words."""
    with safe_open(path, "pt") as file:
        words = file.metadata()
    tensors = load_file(path)
    save_file(tensors | change(tensors), path, metadata=words)


def test_every_fooled_image_is_stored_with_what_fools_it_and_the_command_checks_them(folder, call):
    rows = {
        row["attack"]: row for row in json.loads((folder / "robustness.json").read_text())["protocols"][0]["attacks"]
    }
    images, _ = images_of("test")
    for attack in ATTACKS:
        stored = load_file(the_file(folder, attack))
        assert len(stored["fooled"]) == rows["clean"]["right"] - rows[attack]["right"] > 0
        moved = stored["attacked"] - images[stored["fooled"]]
        assert moved.abs().max() <= rows[attack]["settings"]["eps"] + 1e-6
        assert rows[attack]["forwards"] > rows[attack]["backwards"] > 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, out, err = call("evaluate.verify=true")
    assert status == 0, err
    for attack in ATTACKS:
        number = len(load_file(the_file(folder, attack))["fooled"])
        assert f"{attack}: {rows[attack]['right']} of 40 right, proven by {number} adversarial examples" in out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: {"attacked": images_of("test")[0][found["fooled"]]}, "that the network classifies right"),
        (lambda found: {"attacked": 1 - found["attacked"]}, "outside the ball of"),
        (lambda found: {"fooled": found["fooled"][1:], "attacked": found["attacked"][1:]}, "are not the"),
        (lambda found: {"fooled": found["fooled"] + 1000}, "expected numbers of images from 0 to 39, rising"),
        (lambda found: {"fooled": found["fooled"].float()}, "expected fooled, int64, and attacked, float32"),
    ],
)
def test_examples_that_prove_nothing_are_found(change, message, folder, call):
    rewritten(the_file(folder, "pgd-20"), change)
    status, out, err = call("evaluate.verify=true")
    assert (status, out) == (2, "")
    assert err.startswith("error: evaluate.verify: pgd-20: ")
    assert message in err


def test_missing_examples_are_said(folder, call):
    the_file(folder, "fgsm").unlink()
    status, _, err = call("evaluate.verify=true")
    assert status == 2
    assert "fgsm: no adversarial examples are stored" in err


def test_figures_that_are_not_there_cannot_be_verified(folder, call):
    status, _, err = call("evaluate.verify=true", "evaluate.eps=0.2")
    assert status == 2
    assert "has no figures of these weights by these settings" in err
    assert torch.is_tensor(load_file(the_file(folder, "fgsm"))["fooled"])
