"""What is said of a command line that Hydra cannot read, and of a name that is nearly right."""

import os
import shlex
import subprocess
import sys

import pytest

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.composing.config_errors import Refused
from pipeline.settings import Experiment
from tests.support.scripts import ROOT, TINY


@pytest.mark.parametrize("value", ["runs/café", "runs/a=b", "a~b", "a#b", "it's", 'say "no"', "a(b)", "back\\slash#"])
def test_a_value_outside_hydras_grammar_is_shown_quoted_and_that_form_works(call_script, value):
    status, _, err = call_script("search", f"run={value}")
    assert (status, err.count("\n")) == (2, 1)
    message, quoted = err.removeprefix("error: ").rstrip("\n").split(": this value has to be quoted, as in ")
    assert message == f"run={value}"
    assert compose_experiment(shlex.split(quoted)).run == value


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("search", "search: expected key=value or group=option, found no ="),
        ("search.alpha_betas=[0.5", "[0.5: expected key=value or group=option; a value is plain, quoted, a [list] or"),
        ("+é=3", "+é=3: expected key=value or group=option; a value is plain"),
        ("seed=\u0663", "seed=\u0663: this value has to be quoted"),
        ("run=~", "run=~: the shell left ~ as it is; write run=$HOME"),
        ("run=~/runs/a b", "run=~/runs/a b: the shell left ~ as it is; write run=$HOME/runs/a b"),
    ],
)
def test_what_hydra_cannot_read_is_explained_in_words_of_this_project(override, says):
    with pytest.raises(Refused) as refused:
        compose_experiment([override])
    message = str(refused.value)
    assert says in message
    assert not any(word in message for word in ("EOF", "hydra.cc", "LexerNoViable"))


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_search_path_that_is_not_there_is_one_line(call_script, sweep):
    status, out, err = call_script("search", *sweep, "hydra.searchpath=[file:///nowhere]")
    assert (status, out, err) == (2, "", "error: hydra.searchpath: path=/nowhere is not available.\n")


def test_a_key_that_is_nearly_right_gets_the_right_one_alone(call_script):
    status, _, err = call_script("search", "seach.epochs=3")
    assert (status, err) == (2, "error: unknown key seach.epochs; did you mean search.epochs?\n")


def test_a_key_that_is_like_none_gets_those_beside_it_and_not_all(call_script):
    for key, known in (("foo", Experiment.model_fields), ("fabric.zzqqzzqq", ("fabric.accelerator",))):
        status, _, err = call_script("search", f"{key}=3")
        assert status == 2
        assert f"unknown key {key}. Known here: {', '.join(known)}" in err
        assert len(err) < 300


@pytest.mark.parametrize("name", ["DARTS_V3", "darts_v2", "DARTSV2"])
def test_a_published_cell_that_is_nearly_right_gets_the_right_name(call_script, name):
    status, _, err = call_script("retrain", f"genotype={name}")
    assert status == 2
    assert err == f"error: genotype={name} is no published cell and no file; did you mean DARTS_V2?\n"


def test_retraining_in_an_empty_folder_says_to_search_first(tmp_path, call_script):
    status, _, err = call_script("retrain", *TINY, f"run={tmp_path / 'nothing'}")
    assert status == 2
    assert f"holds no cell yet: search one (python scripts/search.py run={tmp_path / 'nothing'})" in err
    assert not (tmp_path / "nothing").exists()


def test_bounds_that_no_cell_meets_come_with_some_that_fit(tmp_path, call_script):
    status, _, err = call_script("search", *TINY, "objectives.parameters=[1,2]", f"run={tmp_path / 'run'}")
    assert (status, err.count("\n")) == (2, 1)
    assert "or objectives=robust for no bounds" in err
    fitting = err.partition("; use ")[2].partition(", or objectives")[0].split()
    assert [bound.partition("=")[0] for bound in fitting] == ["objectives.parameters", "objectives.macs"]
    status, _, err = call_script("search", *TINY, *fitting, "search.batch_size=2000", f"run={tmp_path / 'run'}")
    assert "no cell of this space" not in err  # but the batches, which are looked at later


@pytest.mark.slow
def test_a_reader_that_leaves_ends_a_script_quietly():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(ROOT / "scripts" / "search.py"), "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
