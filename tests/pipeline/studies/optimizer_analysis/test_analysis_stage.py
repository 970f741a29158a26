"""The analysis of an optimizer through its script: what it writes, and that it writes it once."""

import json
import re

import pytest
import torch

from learned_optimizers import new_theta
from pipeline.studies.optimizer_analysis.analysis_file import read_analysis
from tests.support.scripts import ROOT, finish_script

SMALL = ("analyse.tasks=1", "analyse.steps=6", "fabric.threads=1")


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """A folder with the analysis of the heavy ball."""
    folder = tmp_path_factory.mktemp("analysis") / "run"
    finish_script("analyse_optimizer", *SMALL, f"run={folder}", "analyse.arguments={lr: 0.3, momentum: 0.9}")
    return folder


def test_the_file_holds_the_modes_and_the_verdicts(analysed):
    found = read_analysis(analysed)
    (mode,) = found.momentum.modes
    assert (*mode.decay, *mode.step_size) == pytest.approx((0.9, 0, 0.3, 0), abs=1e-6)
    assert {each.mechanism: each.found for each in found.verdicts} == {
        "momentum": True,
        "gradient clipping": False,
        "learning rate schedule": False,
        "learning rate adaptation": False,
    }
    assert found.optimizer == "SGD(lr=0.3, momentum=0.9)"
    assert sum(found.clipping.counts) == 5 * 6  # elements and steps


def test_the_page_is_self_contained_and_shows_every_picture(analysed):
    html = (analysed / "report.html").read_text()
    pictures = sorted(path.name for path in (analysed / "figures").iterdir())
    assert len(pictures) == 7  # a state of one number has no two directions
    assert html.count("data:image/png;base64,") == len(pictures)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "not found" in html
    assert "Gradients are summed and fall by 0.9 each step" in html


def test_a_finished_analysis_is_read_again_and_another_one_refused(analysed, call_script):
    before = (analysed / "analysis.json").read_bytes()
    given = (*SMALL, f"run={analysed}", "analyse.arguments={lr: 0.3, momentum: 0.9}")
    status, out, err = call_script("analyse_optimizer", *given)
    assert status == 0, err
    assert "found" in out
    status, _, err = call_script("analyse_optimizer", *given, "analyse.steps=7")
    assert status == 2
    assert "analyse.steps was 6, is 7" in err
    assert (analysed / "analysis.json").read_bytes() == before


def test_the_report_makes_the_page_again(analysed, call_script):
    page = (analysed / "report.html").read_bytes()
    (analysed / "report.html").unlink()
    status, _, err = call_script("report", f"run={analysed}")
    assert status == 0, err
    assert (analysed / "report.html").read_bytes() == page


def test_a_damaged_file_is_refused_with_its_key(analysed, tmp_path, call_script):
    content = json.loads((analysed / "analysis.json").read_text())
    content["momentum"]["slowest"] = "slow"
    (tmp_path / "analysis.json").write_text(json.dumps(content))
    status, _, err = call_script("report", f"run={tmp_path}")
    assert status == 2
    assert "momentum.slowest" in err


def test_a_theta_and_an_optimizer_of_the_user_are_taken_apart(tmp_path, monkeypatch, call_script):
    theta = new_theta("gru", generator=torch.Generator().manual_seed(0))
    theta.with_vector(theta.vector() + 0.01).save(tmp_path / "mine.safetensors")
    monkeypatch.syspath_prepend(ROOT)
    for number, optimizer in enumerate((tmp_path / "mine.safetensors", "tests.support.optimization.planted:Planted")):
        given = (*SMALL, f"run={tmp_path / str(number)}", f"analyse.optimizer='{optimizer}'")
        status, out, err = call_script("analyse_optimizer", *given)
        assert status == 0, err
        assert "learning rate schedule" in out
    assert "tests.support.optimization.planted:Planted runs the code of " in out


def test_an_optimizer_that_was_not_trained_leaves_nothing(tmp_path, call_script):
    new_theta("gru", generator=torch.Generator().manual_seed(0)).save(tmp_path / "new.safetensors")
    given = (*SMALL, f"run={tmp_path / 'run'}", f"analyse.optimizer='{tmp_path / 'new.safetensors'}'")
    status, out, err = call_script("analyse_optimizer", *given)
    assert (status, out) == (2, "")
    assert "analyse.optimizer: new moves nothing in 6 steps" in err
    assert not (tmp_path / "run").exists()


def test_a_task_that_diverges_leaves_nothing(tmp_path, call_script):
    status, out, err = call_script(
        "analyse_optimizer", *SMALL, f"run={tmp_path / 'run'}", "analyse.arguments={lr: 1e9}"
    )
    assert (status, out) == (2, "")
    assert re.fullmatch(r"error: analyse.optimizer: SGD\(lr=1e\+09\) diverges on quadratics_5: [^\n]+\n", err), err
    assert not list(tmp_path.iterdir())
