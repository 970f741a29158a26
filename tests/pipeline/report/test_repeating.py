"""The commands that a report prints do repeat the run, in a new folder, to the same files."""

import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripts import ROOT, TINY

OWN = ("evaluate.images=20", "evaluate.attacks=[fgsm]", "data.crop_padding=2", "fabric.threads=1", "seed=3")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that a run is made in, by a relative name."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def printed(here, call_script):
    """The commands on the page of a run that was searched, retrained and evaluated."""
    for script in ("search", "retrain", "evaluate", "report"):
        status, _, err = call_script(script, *TINY, *OWN, "run=runs/tiny")
        assert status == 0, err
    page = (here / "runs" / "tiny" / "report.html").read_text()
    return html.unescape(re.search(r'<pre[^>]*id="commands"[^>]*>(.*?)</pre>', page, re.DOTALL)[1])


def measured(folder):
    """What evaluation found, without how long it took and on what."""
    content = json.loads((folder / "robustness.json").read_text())
    return without(content, {"seconds", "environment"})


def without(tree, names):
    if isinstance(tree, dict):
        return {key: without(value, names) for key, value in tree.items() if key not in names}
    return [without(value, names) for value in tree] if isinstance(tree, list) else tree


def check_same(first, second):
    for name in ("genotype.json", "alphas.safetensors", "network.safetensors", "normal.svg"):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name
    assert measured(second) == measured(first)
    assert (second / "report.html").exists()


def commands_in(text):
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def call_all(commands, call_script):
    for command in commands:
        status, _, err = call_script(command[1].removeprefix("scripts/").removesuffix(".py"), *command[2:])
        assert status == 0, err


@pytest.mark.slow
def test_the_commands_of_a_report_change_nothing_there_and_give_the_same_files_in_a_new_folder(
    here, printed, tmp_path, monkeypatch, call_script
):
    commands = commands_in(printed)
    names = ("search", "retrain", "evaluate", "report")
    assert [command[:2] for command in commands] == [["python", f"scripts/{name}.py"] for name in names]
    kept = {path: path.read_bytes() for path in here.rglob("*") if path.suffix in (".json", ".jsonl", ".safetensors")}
    call_all(commands, call_script)
    assert {path: path.read_bytes() for path in kept} == kept
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    call_all(commands, call_script)
    check_same(here / "runs" / "tiny", tmp_path / "there" / "runs" / "tiny")


@pytest.mark.slow
def test_a_shell_that_is_given_the_commands_verbatim_makes_the_same_files(here, printed, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "scripts").symlink_to(ROOT / "scripts")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    shell = shutil.which("bash")
    done = subprocess.run(
        [shell, "-e", "-c", printed], cwd=there, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    check_same(here / "runs" / "tiny", there / "runs" / "tiny")
