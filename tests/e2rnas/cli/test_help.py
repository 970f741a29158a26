"""--help: a page of a program's own settings, examples first, and all settings on request."""

import shlex

import pytest

from e2rnas.cli.app import compose_experiment, explain
from e2rnas.cli.composing.config_errors import keys
from e2rnas.cli.programs import PROGRAMS
from pipeline.settings import Experiment


def keys_of(text):
    return {line.split("=")[0].strip() for line in text.partition("Keys (")[2].split("\n") if line.startswith("  ")}


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_is_a_page_of_the_programs_own_keys_with_three_examples_first(name):
    text = explain(name, [])
    lines = text.split("\n")
    assert [line.startswith(f"  python scripts/{name}.py") for line in lines[2:5]] == [True] * 3
    assert len(lines) <= 73
    assert keys_of(text)
    assert {key.split(".")[0] for key in keys_of(text)} == set(PROGRAMS[name].keys)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_examples_of_help_are_configurations(name):
    for example in PROGRAMS[name].examples:
        words = [word for word in shlex.split(example) if word != "-m" and "," not in word.partition("[")[0]]
        assert isinstance(compose_experiment([*PROGRAMS[name].defaults, *words]), Experiment)


def test_help_all_shows_the_keys_of_every_program(call_script):
    status, out, _ = call_script("export", "--help=all")
    assert status == 0
    assert keys_of(out) == {key for key, _, _ in keys(Experiment())}
