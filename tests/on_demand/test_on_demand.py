"""Names and options that are imported when they are asked for: settings are read and refused without PyTorch."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

from on_demand import Option, chosen, table
from tests.support.scripts import ROOT

PACKAGES = ("e2rnas", "search_space", "mgda", "attacks", "learned_optimizers", "learned_optimizers.tasks")

WITHOUT_TORCH = """
import sys
from e2rnas.cli.app import run_app
for given in (["--help"], ["--help=all"], ["seach.epochs=3"], ["search.epochs=-3"], ["space.operations=[none]"]):
    sys.argv[1:] = given
    try:
        run_app("search")
    except SystemExit as end:
        assert end.code == 2, given
    assert "torch" not in sys.modules, given
"""


def test_help_and_refusals_leave_out_pytorch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("error: ") == 3
    assert "did you mean search.epochs?" in done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_gives_every_name_that_it_lists_and_none_of_a_module_of_its_own(name):
    package = importlib.import_module(name)
    assert all(hasattr(package, exported) for exported in package.__all__)
    assert not {module.name for module in pkgutil.iter_modules(package.__path__)} & set(package.__all__)


def test_a_name_that_a_package_does_not_have_is_an_attribute_error_that_lists_those_it_has():
    import mgda

    with pytest.raises(AttributeError, match=r"module 'mgda' has no attribute 'mdga'; expected one of Aggregator, "):
        _ = mgda.mdga


def test_an_option_is_loaded_with_its_arguments_looked_up_by_name_and_shown_in_a_table():
    options = {"hex": Option(label="base 16", meaning="digits 0 to f", code="builtins:int", arguments={"base": 16})}
    assert chosen("a base", options, "hex").load()("ff") == 255
    with pytest.raises(ValueError, match="expected a base out of hex, found 'octal'"):
        chosen("a base", options, "octal")
    assert table(options).splitlines()[-1] == "| `hex` | base 16 | digits 0 to f |"
