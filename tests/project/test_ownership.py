"""State belongs to the class that changes it, and the method fits on a few pages."""

import ast

import pytest

from tests.support.scripts import ROOT

OWNED = ("search", "studies/pareto", "training")
OTHERS = {"grad", "relaxation_state", "alphas", "relaxation", "drop_path_probability"}  # of tensors and networks


def written_from_outside(path):
    """`name.attribute` of every assignment to an attribute of anything but `self`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load) or node.attr in OTHERS:
            continue
        if ast.unparse(node.value) != "self":
            yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("room", OWNED)
def test_no_attribute_is_written_from_outside_its_class(room):
    files = sorted((ROOT / "pipeline" / room).rglob("*.py"))
    assert files
    assert [found for path in files for found in written_from_outside(path)] == []


def test_the_method_is_read_in_one_file_of_120_lines():
    lines = (ROOT / "pipeline" / "search" / "bilevel.py").read_text().splitlines()
    assert len(lines) <= 120
    assert "def bilevel_step" in "\n".join(lines)


@pytest.mark.parametrize("room", OWNED)
def test_no_file_of_these_rooms_is_longer_than_300_lines(room):
    longest = max((ROOT / "pipeline" / room).rglob("*.py"), key=lambda path: len(path.read_text().splitlines()))
    assert len(longest.read_text().splitlines()) <= 300, longest
