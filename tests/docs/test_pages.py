"""What pages of the site show is run: commands and Python, from top to bottom, in a folder of their own."""

import re
import runpy
import shlex
import shutil
import sys

import pytest

from e2rnas import overrides
from e2rnas.cli.programs import PROGRAMS
from tests.support.scripts import ROOT, status_of
from tests.support.small_settings import COMMANDS, SMALLER

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUN_ELSEWHERE = {"architecture.md", "how_to/search_spaces.md", "reference/python_api.md"}
PAGES = {
    page.relative_to(DOCS).as_posix(): BLOCK.findall(page.read_text(encoding="utf-8")) for page in DOCS.rglob("*.md")
}
RUN_HERE = sorted(name for name, blocks in PAGES.items() if blocks and name not in RUN_ELSEWHERE)
QUICK = {"concepts/balancing.md", "how_to/continuation.md", "tutorials/own_model.md"}
NAMES = {program.command or name: name for name, program in PROGRAMS.items()}


def commands(text):
    """Name of the program and its arguments, for each line of a shell."""
    for line in text.splitlines():
        first, word, *arguments = shlex.split(line, comments=True)
        assert first == "e2rnas"
        yield NAMES.get(word, word), arguments


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A current folder with examples/, and the settings with which every stage takes seconds."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    composed = overrides.settings_of
    small = {**COMMANDS, "evaluate": SMALLER["evaluate"]}
    monkeypatch.setattr(overrides, "settings_of", lambda name, given: composed(name, [*small.get(name, ()), *given]))
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


def test_tutorials_become_notebooks_that_hold_their_commands_and_python(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    runpy.run_path(str(DOCS / "write_notebooks.py"))["main"](tmp_path)
    for page in (DOCS / "tutorials").glob("*.md"):
        written = nbformat.read(tmp_path / f"{page.stem}.ipynb", as_version=4)
        nbformat.validate(written)
        code = "\n".join(cell["source"] for cell in written["cells"] if cell["cell_type"] == "code")
        blocks = PAGES[f"tutorials/{page.name}"]
        assert code.count("!e2rnas ") == sum(text.count("e2rnas ") for kind, text in blocks if kind == "bash")
        assert all(text.strip() in code for kind, text in blocks if kind == "python")


def test_there_are_pages_to_run():
    assert {f"tutorials/{name}.md" for name in ("digits", "own_images", "own_model", "seeds")} < set(RUN_HERE)
    assert set(RUN_HERE) > QUICK
