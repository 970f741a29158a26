"""Names come from files: a terminal shows their escapes, line ends and markup, and obeys none of them."""

import io
import json

import pytest
import rich
from rich.console import Console

from pipeline.data import load
from pipeline.networks.network_files import save_network
from pipeline.presentation.tables import text_table
from pipeline.presentation.terminal import printable
from pipeline.runs.progress import progress_bar
from pipeline.settings import DataSettings
from search_space import PUBLISHED
from tests.support.runs.folders import accuracy, write_network, write_robustness
from tests.support.scripts import TINY

pytestmark = pytest.mark.usefixtures("drawn")

EVIL = "\x1b[31m\n[red]x\u202e"
ESCAPED = r"\x1b[31m\n[red]x\u202e"


def assert_harmless(text, named=True):
    assert all(line.replace("\N{NO-BREAK SPACE}", " ").isprintable() for line in text.split("\n")), repr(text)
    assert "[red]x" in text or not named


@pytest.fixture
def evil(tmp_path):
    """A run whose network and attack have such names."""
    folder = tmp_path / "run"
    description = write_network(folder, name=EVIL)
    write_robustness(folder, description, [accuracy("clean", 199), accuracy("fgsm", 99)])
    return folder


def test_what_a_terminal_would_obey_is_escaped_and_letters_of_all_languages_stay():
    assert printable(EVIL) == ESCAPED
    assert printable("caf\u00e9 \u4e2d\u6587 5\N{NO-BREAK SPACE}%") == "caf\u00e9 \u4e2d\u6587 5\N{NO-BREAK SPACE}%"
    assert printable("\udc80\u2028\x85\x00") == r"\udc80\u2028\x85\x00"


def test_a_table_shows_names_and_headings_as_they_are():
    lines = text_table((f"name {EVIL}", EVIL), [(EVIL, EVIL)])
    assert "".join(lines).count("[red]") == 4
    for line in lines:
        assert_harmless(line, named=False)


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_and_lines_of_progress_show_names_as_they_are(monkeypatch, terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, color_system=None, width=150)
    monkeypatch.setattr(rich, "_console", console)
    with progress_bar(f"made on {EVIL}", 1) as bar:
        bar.advance(f"tried on {EVIL}")
    assert f"made on {ESCAPED}" in file.getvalue()
    assert f"tried on {ESCAPED}" in file.getvalue()
    assert "\x1b[31m" not in file.getvalue()


def test_a_report_of_a_run_shows_its_names_escaped_in_the_terminal_and_on_the_page(evil, call_script):
    status, out, err = call_script("report", f"run={evil}")
    assert status == 0, err
    assert_harmless(out)
    page = (evil / "report.html").read_text()
    assert r"<title>\x1b[31m" in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_evaluation_and_export_show_names_escaped(tmp_path, evil, call_script):
    digits, others = load(DataSettings()), [tmp_path / "first", tmp_path / "second"]
    for folder in others:
        description = write_network(folder, name=f"{folder.name} {EVIL}")
        fitting = description.model_copy(update={"class_names": digits.class_names})
        save_network(folder, fitting.build(), fitting)
    small = ("data.test_limit=40", "evaluate.transfer_attack=fgsm", "fabric.accelerator=cpu")
    models = f"evaluate.models=[{','.join(map(str, others))}]"
    status, out, err = call_script("evaluate", *small, models, f"run={tmp_path / 'both'}")
    assert status == 0, err
    assert f"tried on second {ESCAPED}: " in out
    assert_harmless(out)
    status, out, err = call_script("export", f"run={evil}", "export.formats=[json]", "genotype=DARTS_V2")
    assert_harmless(out + err, named=False)


def test_an_error_is_one_line_whatever_is_in_the_file_it_speaks_of(tmp_path, call_script):
    genotype = json.loads(PUBLISHED["DARTS_V2"].genotype.to_json())
    text = json.dumps(genotype).replace("skip_connect", json.dumps(EVIL)[1:-1])
    assert EVIL not in text
    (tmp_path / f"gone{EVIL}.json").write_text(text)
    for reference in (tmp_path / f"gone{EVIL}.json", f"none{EVIL}"):
        status, out, err = call_script("retrain", *TINY, f"genotype='{reference}'", f"run={tmp_path / 'run'}")
        assert (status, err.count("\n"), out) == (2, 1, ""), err
        assert_harmless(err)
