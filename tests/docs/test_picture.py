"""The cell that the first page shows is one that is shipped, as it is drawn today."""

import re

import e2rnas
from search_space.drawing.cell_layout import operation_label
from tests.support.scripts import ROOT


def test_the_first_picture_is_of_a_shipped_cell_with_its_labels_as_text():
    drawn = (ROOT / "docs/normal.svg").read_text(encoding="utf-8")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    cell = e2rnas.load("digits-searched-1").normal
    labels = [operation_label(edge.operation) for edges in cell.nodes for edge in edges]
    assert sorted(text for text in texts if " " in text or text == "skip") == sorted(labels)
