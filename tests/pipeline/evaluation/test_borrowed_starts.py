"""AutoAttack may begin with what fooled other images: what that finds is added, and the parts go on with the rest."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pipeline.evaluation.measuring.borrowed_starts import try_perturbations
from tests.support.images.digits_network import digits, trained_network
from tests.support.optimization.quick_attacks import fallen, quicken
from tests.support.runs.evaluated import THEIRS, images_of

EPS = 0.2


@pytest.mark.parametrize(("norm", "eps"), [("Linf", EPS), ("L2", 1.5)])
def test_perturbations_are_brought_into_the_ball_and_what_they_fool_is_fooled(norm, eps):
    images, labels = digits()
    images, labels, network = images[-60:], labels[-60:], trained_network()
    right = ~fallen(network, images, labels)
    images, labels = images[right], labels[right]
    perturbations = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = try_perturbations(network, images, labels, perturbations, eps=eps, norm=norm)
    moved = (found - images).flatten(1)
    assert (moved.abs().amax(1) if norm == "Linf" else moved.norm(dim=1)).max() <= eps + 1e-6
    assert 0 <= found.min() <= found.max() <= 1
    changed = (moved != 0).any(dim=1)
    assert 0 < changed.sum() < len(images)
    assert torch.equal(fallen(network, found, labels), changed)


def test_none_to_try_leaves_all_images():
    images, labels = digits()
    found = try_perturbations(trained_network(), images[:3], labels[:3], torch.empty(0, 1, 8, 8), eps=EPS, norm="Linf")
    assert torch.equal(found, images[:3])


@pytest.mark.usefixtures("importable")
def test_autoattack_begins_with_what_is_stored_and_its_figure_is_proven(tmp_path, call_script, monkeypatch):
    quicken(monkeypatch, "autoattack")
    run, evaluate = tmp_path / "run", (*THEIRS, f"run={tmp_path / 'run'}")
    for overrides in (["evaluate.attacks=[pgd-20]"], ["evaluate.attacks=[pgd-20,autoattack]", "evaluate.starts=3"]):
        status, _, err = call_script("evaluate", *evaluate, *overrides)
        assert status == 0, err
    (protocol,) = json.loads((run / "robustness.json").read_text())["protocols"]
    row = {row["attack"]: row for row in protocol["attacks"]}["autoattack"]
    assert row["settings"]["starts"] == 3
    (path,) = (run / "adversarial").glob("pgd-20-*")
    stored = load_file(path)
    pool = stored["attacked"] - images_of("test")[0][stored["fooled"]]
    tried = pool[torch.linspace(0, len(pool) - 1, 3).round().long()]
    (path,) = (run / "adversarial").glob("autoattack-*")
    found = load_file(path)
    eps, images = row["settings"]["eps"], images_of("test")[0][found["fooled"]]
    borrowed = torch.stack([(images + each.clamp(-eps, eps)).clamp(0, 1) for each in tried])
    assert (borrowed == found["attacked"]).flatten(2).all(dim=2).any()
    status, out, err = call_script("evaluate", *evaluate, "evaluate.attacks=[pgd-20]", "evaluate.verify=true")
    assert status == 0, err
    assert f"autoattack: {row['right']} of 40 right, proven by {len(found['fooled'])} adversarial examples" in out
