"""Where each program begins: `e2rnas search ...` and `python scripts/search.py ...` are one and the same."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from e2rnas.cli import signals
from e2rnas.cli.output import say, show
from e2rnas.cli.programs import PROGRAMS
from pipeline.compute.interruption import REFUSED

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
USAGE = "usage: e2rnas <program> [group=option]... [key=value]...; e2rnas <program> --help shows its settings"


def run(name: str) -> None:
    """Run a program of PROGRAMS with the arguments in sys.argv."""
    if Path(sys.argv[0]).resolve().parent == SCRIPTS:  # not in the process of another program
        signals.watch()
        # Python looks for modules beside a script first: there is a package tabulate that PyTorch imports
        sys.path[:] = [place for place in sys.path if Path(place).resolve() != SCRIPTS]
    from e2rnas.cli.app import run_app  # only now: it takes seconds, in which signals come as well

    run_app(name)


def main() -> None:
    """Run what the command `e2rnas` is given, as its script would; without a program, list them."""
    commands = {program.command or name: name for name, program in PROGRAMS.items()}
    match sys.argv[1:]:
        case [word, *arguments] if (name := commands.get(word, word)) in PROGRAMS:
            # processes of the same run, and Hydra's jobs, are started by what stands here
            sys.argv = [str(SCRIPTS / f"{name}.py"), *arguments]
            run(name)
        case [] | ["-h" | "--help"]:
            show(USAGE, "", *(f"  {word:<17} {PROGRAMS[name].description}" for word, name in commands.items()))
        case [word, *_]:
            near = difflib.get_close_matches(word, [*commands, *PROGRAMS], n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(commands)}"
            say(f"error: unknown program {word}; {hint}")
            sys.exit(REFUSED)
