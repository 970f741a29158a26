"""What the site is made of, beside its pages: tables made of the code, pictures, messages, and a way to every page."""

import doctest
import importlib
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from e2rnas.cli.composing.config_errors import keys
from pipeline.settings import Experiment
from tests.support.scripts import ROOT

DOCS = ROOT / "docs"
CODE = [path for room in ("pipeline", "e2rnas", "search_space", "attacks") for path in (ROOT / room).rglob("*.py")]


@pytest.fixture
def extension(monkeypatch):
    """A module of docs/extensions, as Sphinx finds it."""
    monkeypatch.syspath_prepend(str(DOCS))
    return lambda name: importlib.import_module(f"extensions.{name}")


def test_the_page_of_settings_has_every_key(extension):
    text = "\n".join(extension("settings_pages").settings())
    assert [key for key, _, _ in keys(Experiment()) if f"| `{key}` |" not in text] == []
    assert "| `[none, max_pool_3x3, avg_pool_3x3" in text  # so that a long default may be broken


def test_the_page_of_files_has_those_that_stages_write_and_their_keys(extension):
    pages = extension("file_pages")
    assert set(pages.schemas()) >= {"search.json", "network.json", "robustness.json", "settings.json", "study.json"}
    text = "\n".join(pages.files())
    for schema in pages.schemas().values():
        assert all(f"| `{key}` |" in text for key in schema.model_json_schema()["properties"])


@pytest.mark.parametrize("name", ["docstrings", "file_pages"])
def test_the_examples_of_the_extensions_run(name, extension):
    pytest.importorskip("sphinx")
    found = doctest.testmod(extension(name))
    assert found.attempted
    assert found.failed == 0


def test_arguments_of_a_docstring_become_a_list_and_its_signs_stay_what_they_are(extension):
    pytest.importorskip("sphinx")
    lines = ["Add |x|.", "", "x: [n].  y: a", "    sum of x_i.  p, q: [n].", "", "    >>> 1", "    1"]
    assert list(extension("docstrings").converted(lines)) == [
        "Add \\|x\\|.", "", "", "- ``x``: [n].", "- ``y``: a", "  sum of x\\_i.", "- ``p, q``: [n].", "",
        ">>> 1", "1", "",
    ]  # fmt: skip


def test_the_index_of_the_documentation_is_the_first_page_of_the_site(extension):
    pytest.importorskip("sphinx")
    builder = object.__new__(extension("first_page").FirstPageBuilder)
    builder.config, builder.outdir = SimpleNamespace(root_doc="docs/index"), "site"
    assert Path(builder.get_outfilename("docs/index")) == Path("site/index.html")
    assert builder.get_relative_uri("docs/start/install", "docs/index") == "../../index.html"
    assert builder.get_relative_uri("docs/index", "docs/start/install") == "docs/start/install.html"


@pytest.mark.parametrize("style", ["docs/static/site.css", "pipeline/report/templates/style.css"])
def test_on_a_narrow_screen_words_say_that_something_hangs_over(style):
    before, hint, after = (ROOT / style).read_text(encoding="utf-8").partition("scroll →")
    assert hint
    assert "display: var(--goes-on)" in after
    _, _, narrow = before.rpartition("@media (max-width: 48rem)")
    assert narrow.count("{") - narrow.count("}") == 2  # of the screen's width, and of what stands before a table


def test_every_table_of_a_report_scrolls_by_itself():
    for template in (ROOT / "pipeline/report/templates").glob("*.j2"):
        text = template.read_text(encoding="utf-8")
        assert text.count("<table") == len(re.findall(r"{% call scrolled\(.*\) %}\n<table", text)), template.name


def test_every_page_is_reached_from_the_index():
    index = (DOCS / "index.md").read_text()
    trees = "\n".join(re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} - {"index"}
    assert pages == set(re.findall(r"^[\w/]+$", trees, re.MULTILINE))


def test_messages_that_the_questions_quote_are_those_of_the_code():
    texts = [path.read_text(encoding="utf-8") for path in CODE]
    _, _, messages = (DOCS / "about" / "faq.md").read_text().partition("## Messages")
    quoted = re.findall(r"^### (.*)$", messages, re.MULTILINE)
    assert len(quoted) > 10
    assert [message for message in quoted if not any(message in text for text in texts)] == []


def test_the_pictures_of_concepts_are_as_their_script_draws_them(tmp_path, drawn):
    runpy.run_path(str(DOCS / "draw_concepts.py"))["main"](tmp_path)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(drawn) == ["bound.svg", "directions.svg"]
    for name, text in drawn.items():
        kept = (DOCS / "concepts" / name).read_text()
        assert re.findall(r">([^<>]+)</text>", text) == re.findall(r">([^<>]+)</text>", kept)
