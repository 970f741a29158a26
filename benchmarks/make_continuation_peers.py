"""Make the environment of ana_cont, a peer of benchmarks/continuation.py: python benchmarks/make_continuation_peers.py.

Its release needs NumPy below 2.4 and Cython while it is built, so that it gets an environment of its own. What is
installed is the extra continuation-peers of pyproject.toml.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "runs" / "continuation" / "peers"
PEERS = ("ana-cont",)


def main() -> None:
    """Make the environment, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603 - this Python's own module
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["optional-dependencies"]["continuation-peers"]
    peers = [each for each in needed if each.startswith(PEERS)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *(each for each in needed if each not in peers)], check=True)  # noqa: S603
    # without isolation: it is built against the NumPy of this environment
    subprocess.run([*install, "--no-build-isolation", *peers], check=True)  # noqa: S603
    print(python)


if __name__ == "__main__":
    main()
