"""What cannot be evaluated is refused in one line."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from tests.support.runs.evaluated import THEIRS
from tests.support.scripts import TINY

pytestmark = pytest.mark.usefixtures("importable")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluate.model=their_models"], "expected package.module:factory"),
        (["evaluate.model=no.such:thing"], "importing no.such raised ModuleNotFoundError"),
        (["evaluate.model=their_models:nothing"], "their_models has no function or class nothing"),
        (["evaluate.model=their_models:answer"], "their_models has no function or class answer"),
        (["evaluate.model=their_models:broken"], "raised KeyError: 'no such thing'"),
        (["evaluate.model=their_models:number"], "expected a torch.nn.Module, it returned int"),
        (["evaluate.model=their_models:Linear", "evaluate.model_arguments={scales: 2}"], "raised TypeError"),
        (["evaluate.model=their_models:Linear", "evaluate.model_arguments={classes: 7}"], "expected logits [1, 10]"),
        (["evaluate.model=their_models:Linear", "evaluate.weights=none.safetensors"], "does not exist"),
        (["evaluate.model=their_models:fitted", "genotype=RACL"], "leave it out beside evaluate.model"),
        (["evaluate.weights=a.safetensors"], "belong to evaluate.model"),
        (["evaluate.surrogate=runs/a"], "used by evaluate.checks=true"),
        (["evaluate.models=[runs/a]"], "two or more"),
        (["evaluate.models=[runs/a,runs/b]"], "neither a run folder nor package.module:factory"),
        (["evaluate.norm=L2"], "fgsm is an attack in Linf"),
        (["evaluate.eps=1.5"], "at most 1, found 1.5"),
        (["evaluate.sweep=[0.1,3]"], "at most 1, found 3"),
        (["evaluate.sweep=[0.1,0.1]"], "each radius is named once, found [0.1, 0.1]"),
        (["evaluate.corruptions=[fog]"], "'jpeg'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(overrides, message, tmp_path, call_script):
    status, _, err = call_script("evaluate", *TINY, f"run={tmp_path / 'run'}", *overrides)
    assert status == 2
    assert message in err
    assert err.startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_shape_are_refused_by_the_first_that_differs(tmp_path, call_script):
    save_file({"layer.weight": torch.zeros(10, 8), "layer.bias": torch.zeros(10)}, tmp_path / "other.safetensors")
    model = ["evaluate.model=their_models:Linear", f"evaluate.weights={tmp_path / 'other.safetensors'}"]
    status, _, err = call_script("evaluate", *TINY, f"run={tmp_path / 'run'}", *model)
    assert status == 2
    assert "does not fit the module of their_models:Linear: 1 tensors differ, the first is layer.weight" in err


def test_a_folder_that_holds_a_network_is_not_used_for_another(trained, call_script):
    status, _, err = call_script("evaluate", *THEIRS, f"run={trained}")
    assert status == 2
    assert "holds a network of its own" in err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("RACL", "holds a network of another cell than genotype=RACL; choose another run="),
        ("nonsense", "genotype=nonsense is not a published name"),
    ],
)
def test_a_genotype_that_is_not_of_the_network_is_refused(trained, call_script, given, message):
    status, _, err = call_script("evaluate", *TINY, f"run={trained}", f"genotype={given}", "evaluate.attacks=[]")
    assert (status, message in err, err.count("\n")) == (2, True, 1), err
    assert not (trained / "robustness.json").exists()


def test_the_genotype_of_the_network_may_be_named(trained, tmp_path, call_script):
    shutil.copytree(trained, tmp_path / "copy")
    chosen = [*TINY, f"run={tmp_path / 'copy'}", "genotype=PDARTS", "evaluate.attacks=[]"]
    status, _, err = call_script("evaluate", *chosen)
    assert status == 0, err
