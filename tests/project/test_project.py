"""The checkout is what is imported, what the README shows runs, and the tests mirror the tree."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from e2rnas.cli.programs import PROGRAMS
from tests.support.scripts import ROOT

PACKAGES = (
    "e2rnas",
    "search_space",
    "mgda",
    "attacks",
    "learned_optimizers",
    "analytic_continuation",
    "pipeline",
    "compiled",
    "atomic_files",
    "on_demand",
)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_imported_from_the_checkout(name):
    assert Path(importlib.import_module(name).__file__).is_relative_to(ROOT)


def test_the_parts_by_themselves_run_and_print_what_they_say(capsys):
    _, _, parts = (ROOT / "docs/reference/python_api.md").read_text().partition("## Its parts by themselves")
    (code,) = re.findall(r"```python\n(.*?)```", parts, re.DOTALL)
    exec(code, {})  # noqa: S102 - our own
    printed = capsys.readouterr().out
    assert "parameters=3349342" in printed
    assert "0.3846" in printed.splitlines()[-1]


@pytest.mark.parametrize("page", ["README.md", "docs/reference/command_line.md"])
def test_every_script_is_named_where_programs_are_listed(page):
    text = (ROOT / page).read_text()
    for script in (ROOT / "scripts").glob("[a-z]*.py"):
        assert f"scripts/{script.name}" in text


def test_pages_write_programs_as_scripts_and_say_in_two_places_that_a_command_is_the_same():
    commands = "|".join(re.escape(program.command or name) for name, program in PROGRAMS.items())
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = {page for page in pages if re.search(rf"\be2rnas ({commands})\b", page.read_text(encoding="utf-8"))}
    assert found == {ROOT / "docs/start/install.md", ROOT / "docs/reference/command_line.md"}


def test_every_published_cell_is_named_where_they_are_described():
    from search_space import PUBLISHED

    text = (ROOT / "docs/how_to/exporting.md").read_text()
    for name in PUBLISHED:
        assert name in text


def test_the_readme_is_read_in_five_minutes():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 900
    assert {"make demo", "make test"} <= set(re.findall(r"make \w+", text))


def test_a_folder_of_tests_is_one_of_the_tree():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == [Path("project")]  # of all folders


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_test_imports_a_test():
    """What several share is in tests/support/; conftest.py is pytest's to import."""
    for path in (ROOT / "tests").rglob("*.py"):
        ours = [name for name in imported_by(path) if name.startswith("tests.")]
        assert all(name.startswith("tests.support.") or name == "tests.support" for name in ours), path
