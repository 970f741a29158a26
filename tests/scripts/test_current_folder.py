"""The current folder may be a run that was downloaded: no file in it is taken for a package."""

import os
import subprocess
import sys

import pytest
from joblib import Parallel, delayed

from pipeline.compute.children import keep_out_current_folder
from pipeline.compute.workers import process_pool
from pipeline.networks.module_path import let_be_found
from tests.support.runs.folders import write_network, write_search
from tests.support.scripts import ROOT, TINY
from tests.support.slowly import slowly

MODULES = """
import torch
def fitted():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""
# of the standard library, and what libraries ask for if it is there
WANTED = (
    "antigravity",
    "lz4",
    "mpi4py",
    "pandas",
    "pickle",
    "psutil",
    "pytz",
    "random",
    "selectors",
    "socket",
    "torch_xla",
)


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """A current folder with files named as packages are, each of which says that it was run."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in WANTED:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\nraise SystemExit(9)\n"
        )
    monkeypatch.chdir(folder)
    yield folder
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


@pytest.fixture
def path_of_modules():
    """sys.path as it was, once the test is over."""
    before = list(sys.path)
    yield before
    sys.path[:] = before


@pytest.fixture
def environment(monkeypatch):
    """Variables that are put back."""
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.mark.parametrize("stage", ["search", "evaluate", "export", "report", *slowly("retrain")])
def test_no_stage_looks_for_modules_in_the_current_folder(downloaded, path_of_modules, call_script, stage):
    write_search(downloaded / "run")
    write_network(downloaded / "run")
    call_script(stage, *TINY, "run=run", "seed=7", "evaluate.attacks=[fgsm]", "export.formats=[json]")
    assert sys.path == path_of_modules


def test_evaluation_of_a_downloaded_run_runs_none_of_its_files(downloaded):
    write_network(downloaded)
    script = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), *TINY, "run=.", "evaluate.checks=true"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_processes_of_a_stage_run_no_file_of_the_current_folder(downloaded, environment):
    with process_pool(1, 1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_processes_of_a_sweep_run_no_file_of_the_current_folder(downloaded, environment):
    keep_out_current_folder()
    assert len(Parallel(n_jobs=2)([delayed(os.getpid)(), delayed(os.getpid)()])) == 2
    found = subprocess.run(
        [sys.executable, "-m", "json.tool", "--help"], capture_output=True, check=False
    )  # as submitit's are begun
    assert found.returncode == 0


def test_a_module_that_is_named_is_found_in_the_current_folder_and_its_file_is_said(
    downloaded, path_of_modules, call_script
):
    (downloaded / "my_models.py").write_text(MODULES)
    status, out, err = call_script("evaluate", *TINY, "run=run", "evaluate.model=my_models:fitted")
    assert status == 0, err
    assert f"my_models:fitted runs the code of {downloaded / 'my_models.py'}" in out.splitlines()
    assert sys.path == [*path_of_modules, str(downloaded)]


def test_the_current_folder_is_left_out_for_a_module_that_is_installed(downloaded, path_of_modules):
    (downloaded / "torch").mkdir()
    (downloaded / "torch" / "__init__.py").touch()
    assert let_be_found("torch.nn:Linear").endswith("torch/nn/__init__.py")
    assert "downloaded" not in let_be_found("torch.nn.functional:relu")
    assert let_be_found("builtins:dict") is None
    assert let_be_found("no.such.module:f") is None
    assert let_be_found("..models:f") is None
    let_be_found("__main__:f")  # has no place of its own under python -c
    assert sys.path == path_of_modules


def test_a_part_of_a_package_is_found_before_any_of_it_is_run(downloaded, path_of_modules):
    (downloaded / "my_package").mkdir()
    (downloaded / "my_package" / "__init__.py").write_text("raise SystemExit")
    (downloaded / "my_package" / "parts.py").touch()
    assert let_be_found("my_package.parts:f") == str(downloaded / "my_package" / "parts.py")
    assert let_be_found("my_package.gone:f") is None
