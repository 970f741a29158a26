"""Write each tutorial as a notebook: python docs/write_notebooks.py [folder], by default build/notebooks.

A notebook has the page's blocks of Python and of commands as cells, in their order, after one that enters the checkout.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TUTORIALS = Path(__file__).parent / "tutorials"
ROOT = TUTORIALS.parents[1]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
CONTINUED = re.compile(r"[ ]*\\\n[ ]*")  # a command over several lines is one line of a notebook
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def notebook(text: str, way: str) -> NotebookNode:
    """Return a page's notebook: commands begin with "!", and what is neither they nor Python is text.

    way: from the notebook's folder to the one in which its commands find scripts/ and examples/.
    """
    prose, cells = BLOCK.split(text), [new_code_cell(f"%cd -q {way}")]
    for index, part in enumerate(prose):
        match index % 3:
            case 0 if part.strip():
                cells.append(new_markdown_cell(part.strip()))
            case 2 if prose[index - 1] == "python":
                cells.append(new_code_cell(part))
            case 2:
                cells.append(new_code_cell("\n".join(f"!{line}" for line in CONTINUED.sub(" ", part).splitlines())))
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"  # the same file in every run
    return new_notebook(cells=cells, metadata=METADATA)


def main(folder: Path, root: Path = ROOT) -> None:
    """Write all of them, to be run in `root`."""
    folder.mkdir(parents=True, exist_ok=True)
    way = Path(os.path.relpath(root, folder)).as_posix()
    for page in sorted(TUTORIALS.glob("*.md")):
        nbformat.write(notebook(page.read_text(encoding="utf-8"), way), folder / f"{page.stem}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "notebooks")
