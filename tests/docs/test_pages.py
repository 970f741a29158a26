"""What pages of the site show is run: commands and Python, from top to bottom, in a folder of their own."""

import importlib
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from e2rnas import overrides
from e2rnas.cli.app import compose_experiment
from e2rnas.cli.programs import PROGRAMS
from tests.support.scripts import ROOT, status_of
from tests.support.small_settings import COMMANDS, SMALLER

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUN_ELSEWHERE = {"architecture.md", "how_to/search_spaces.md", "reference/python_api.md"}
PAGES = {
    page.relative_to(DOCS).as_posix(): BLOCK.findall(page.read_text(encoding="utf-8")) for page in DOCS.rglob("*.md")
}
TUTORIALS = sorted(name for name in PAGES if name.startswith("tutorials/"))
RUN_HERE = sorted(name for name, blocks in PAGES.items() if blocks and name not in RUN_ELSEWHERE)
QUICK = {"concepts/balancing.md", *TUTORIALS}


def commands(text):
    """Name of the program and its arguments, for each line of a shell, which may go on after a backslash."""
    for line in text.replace("\\\n", " ").splitlines():
        python, script, *arguments = shlex.split(line, comments=True)
        name = script.removeprefix("scripts/").removesuffix(".py")
        assert (python, script, name in PROGRAMS) == ("python", f"scripts/{name}.py", True)
        yield name, arguments


OF_PYTHON = {**COMMANDS, "evaluate": SMALLER["evaluate"]}
SMALL_IN_PYTHON = f"""
from e2rnas import overrides

composed, small = overrides.settings_of, {OF_PYTHON!r}
overrides.settings_of = lambda name, given: composed(name, [*small.get(name, ()), *given])
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A current folder with examples/, and the settings with which every stage takes seconds."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(overrides, "settings_of", overrides.settings_of)  # and so put back
    monkeypatch.setattr(sys, "path", [*sys.path])  # where the folder of a page's own modules would stay
    exec(SMALL_IN_PYTHON, {})  # noqa: S102 - our own
    yield monkeypatch
    sys.modules.pop("my_models", None)  # which a page writes


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in QUICK else pytest.mark.slow) for page in RUN_HERE]
)
def test_what_a_page_shows_runs(page, small, capsys):
    names = {}
    for language, text in PAGES[page]:
        if language == "python":
            exec(text, names)  # noqa: S102 - our own
            continue
        for program, arguments in commands(text):
            status = status_of(small, program, [*arguments, *COMMANDS.get(program, ())])
            assert status == 0, (program, arguments, capsys.readouterr().err)


@pytest.mark.parametrize("page", TUTORIALS)
def test_settings_of_a_tutorial_are_understood_as_they_stand(page):
    """Without those that make it small; of a sweep, those of its first job."""
    for language, text in PAGES[page]:
        for program, arguments in commands(text) if language == "bash" else ():
            given = [re.sub(r"=([^\[{,]*),.*", r"=\1", argument) for argument in arguments if argument != "-m"]
            assert compose_experiment([*PROGRAMS[program].defaults, *given]).run


@pytest.fixture
def checkout(tmp_path):
    """A folder with what notebooks need of a checkout, but for scripts, and the notebooks in a folder beside it."""
    pytest.importorskip("nbformat")
    (tmp_path / "checkout" / "scripts").mkdir(parents=True)
    shutil.copytree(ROOT / "examples", tmp_path / "checkout" / "examples")
    runpy.run_path(str(DOCS / "write_notebooks.py"))["main"](tmp_path / "notebooks", tmp_path / "checkout")
    return tmp_path / "checkout"


def notebook(checkout, name):
    """The notebook of a page, and what its cells of code hold."""
    nbformat = importlib.import_module("nbformat")
    written = nbformat.read(checkout.parent / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(written)
    return written, [cell["source"] for cell in written["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_notebook_is_the_blocks_that_are_run_in_their_order(page, checkout):
    _, (first, *cells) = notebook(checkout, Path(page).stem)
    assert first == "%cd -q ../checkout"
    for (language, text), cell in zip(PAGES[page], cells, strict=True):
        if language == "python":
            assert cell == text.removesuffix("\n")
        else:
            assert all(line.startswith("!") for line in cell.splitlines())
            assert [*commands(re.sub("^!", "", cell, flags=re.MULTILINE))] == [*commands(text)]


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS)
@pytest.mark.filterwarnings("default")  # of the packages that run notebooks
@pytest.mark.timeout(1800)  # each command is a process of its own
def test_a_notebook_runs(page, checkout, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    written, _ = notebook(checkout, Path(page).stem)
    for script in (ROOT / "scripts").glob("*.py"):  # in place of each, one that hands it the smallest settings
        # its folder is no place of modules, as of a script it is none: PyTorch imports a package tabulate
        given = f"[{str(script)!r}, *sys.argv[1:], *{COMMANDS.get(script.stem, ())!r}]"
        small = f"import runpy, sys\nsys.path.pop(0)\nsys.argv = {given}\n"
        (checkout / "scripts" / script.name).write_text(f"{small}runpy.run_path(sys.argv[0], run_name='__main__')\n")
    for cell in written["cells"]:
        if cell["source"].startswith("!"):
            cell["source"] = "\n".join(f"{line}\nassert _exit_code == 0" for line in cell["source"].splitlines())
        elif cell["source"].startswith("%cd"):
            cell["source"] += f"\n{SMALL_IN_PYTHON}"
    folder = {"metadata": {"path": str(checkout.parent / "notebooks")}}
    nbclient.NotebookClient(written, timeout=None, resources=folder).execute()  # raises where a cell does


def test_there_are_pages_to_run():
    assert {f"tutorials/{name}.md" for name in ("digits", "own_images", "own_model", "seeds")} < set(RUN_HERE)
    assert set(RUN_HERE) > QUICK
