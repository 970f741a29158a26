"""The command `e2rnas`: the same programs as scripts/, under one name."""

import importlib
import subprocess
import sys
import tomllib

import pytest

from e2rnas.cli.main import main
from e2rnas.cli.programs import PROGRAMS
from tests.support.scripts import ROOT


@pytest.fixture
def call_command(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["/somewhere/bin/e2rnas", *words])
        monkeypatch.setattr("e2rnas.cli.signals.watch", lambda: None)
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


def test_each_script_is_a_program_and_each_program_a_script():
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == set(PROGRAMS)
    assert {path.stem for path in (ROOT / "e2rnas/cli/stages").rglob("[a-z]*.py")} == set(PROGRAMS)


def test_the_installed_command_is_the_function_called_here():
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["e2rnas"]
    module, name = entry.split(":")
    assert getattr(importlib.import_module(module), name) is main


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_without_a_program_each_is_listed_in_one_line(call_command, words):
    status, out, _ = call_command(*words)
    assert status == 0
    for name, program in PROGRAMS.items():
        assert f"  {program.command or name:<17} {program.description}" in out.split("\n")


@pytest.mark.parametrize("word", ["continue", "continue_spectrum"])
def test_a_program_is_found_by_its_shorter_name_and_by_that_of_its_script(call_command, word):
    status, out, err = call_command(word)
    assert (status, out) == (2, "")
    assert err.startswith("error: green.path is missing")


@pytest.mark.parametrize(("word", "says"), [("serch", "did you mean search?"), ("xyz", "expected one of demo, search")])
def test_an_unknown_program_is_refused_in_one_line(call_command, word, says):
    status, out, err = call_command(word, "run=x")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: unknown program {word}; {says}")


def test_a_program_of_the_command_is_the_script_of_that_name(call_command, call_script):
    words = ("genotype=DARTS_V2", "data=digits")
    assert call_command("cells", *words) == call_script("cells", *words)
    assert sys.argv[0] == "cells.py"
    call_command("search", "seach.epochs=3")
    assert sys.argv[0] == str(ROOT / "scripts" / "search.py")  # by which the other processes of a run are started


def test_windows_is_refused_in_one_line_before_what_it_lacks_is_imported():
    code = "import sys; sys.platform = 'win32'; import e2rnas.cli.main"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: Windows is not supported; use the Windows Subsystem for Linux\n"
