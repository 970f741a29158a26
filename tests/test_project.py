"""The checkout is what is imported, and what the README shows runs."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGES = ("e2rnas", "search_space", "mgda", "attacks", "learned_optimizers", "pipeline", "compiled", "atomic_files")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_imported_from_the_checkout(name):
    assert Path(importlib.import_module(name).__file__).is_relative_to(ROOT)


def test_the_readme_example_in_python_runs_and_prints_what_it_says():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "parameters=3349342" in done.stdout
    assert "0.3846" in done.stdout.splitlines()[-1]


def test_every_script_and_published_cell_is_named_in_the_readme():
    from search_space import PUBLISHED

    text = (ROOT / "README.md").read_text()
    for script in (ROOT / "scripts").glob("[a-z]*.py"):
        assert f"scripts/{script.name}" in text or script.name == "demo.py"
    for name in PUBLISHED:
        assert name in text
