"""Write each tutorial as a notebook: python docs/write_notebooks.py [folder], by default build/notebooks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TUTORIALS = Path(__file__).parent / "tutorials"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def notebook(text: str) -> NotebookNode:
    """Return a page's notebook: commands begin with "!", and what is neither they nor Python is text."""
    prose, cells = BLOCK.split(text), []
    for index, part in enumerate(prose):
        match index % 3:
            case 0 if part.strip():
                cells.append(new_markdown_cell(part.strip()))
            case 2 if prose[index - 1] == "python":
                cells.append(new_code_cell(part))
            case 2:
                cells.append(new_code_cell("\n".join(f"!{line}" for line in part.splitlines())))
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"  # the same file in every run
    return new_notebook(cells=cells, metadata=METADATA)


def main(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in sorted(TUTORIALS.glob("*.md")):
        nbformat.write(notebook(page.read_text(encoding="utf-8")), folder / f"{page.stem}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TUTORIALS.parents[1] / "build" / "notebooks")
