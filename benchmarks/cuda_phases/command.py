"""The command line of benchmarks/cuda.py: on which device, and which phases."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
import torch
from lightning_fabric import Fabric

from cuda_phases.journal import Journal
from cuda_phases.machine import versions
from cuda_phases.phases import PHASES, WHOLE, Phase, run, text_of
from cuda_phases.place import PAPER, TINY, Place
from pipeline.errors import RunError
from pipeline.runs.files import write_atomically

SCRIPT = Path(__file__).resolve().parents[1] / "cuda.py"
ROOT = SCRIPT.parents[1]
FAKE = "acc"  # the device of tests/support/fake_accelerator
PATIENCE = 5  # times the budgets, in a dry run, which may share its processor
NAMES = [phase.name for phase in PHASES]


def measure(phases: Sequence[Phase], place: Place, folder: Path, deadline: float) -> bool:
    """Run the phases and write their tables; returns whether all ended as they should."""
    journal = Journal(folder, versions() | {"device": str(place.device), "paper": place.sizes is PAPER})

    def report() -> None:
        text = f"# What a GPU does\n\n`{record.command()}`. {record.machine()}.\n\n{text_of(phases, journal)}\n"
        write_atomically(folder / "cuda.md", text)

    return run(phases, place, journal, deadline=deadline, report=report)


def place_of(device: str) -> Place:
    """Return where phases run on a real device: at the paper's sizes on a GPU, and at tiny ones on the CPU."""

    def make_fabric(precision: Any) -> Fabric:
        return Fabric(accelerator=device, devices=1, precision=precision)

    return Place(torch.device(device), PAPER if device == "cuda" else TINY, make_fabric)


def measure_on_fake(phases: Sequence[Phase], folder: Path, deadline: float) -> bool:
    """Run the phases on the device that is not there, which stays registered for the rest of this process."""
    from tests.support.fake_accelerator.device import DEVICE, FakeAccelerator
    from tests.support.fake_accelerator.fabric import FakeFabric

    with FakeAccelerator() as counts:
        place = Place(DEVICE, TINY, lambda precision: FakeFabric(accelerator="cpu", devices=1), counts)
        return measure(phases, place, folder, deadline)


def start_on_fake(out: Path, names: Sequence[str]) -> bool:
    """Run phases on the device that is not there, in a process of its own."""
    options = ["--out", str(out), "--dry-run", "--device", FAKE, "--phases", *names]
    # its folder too, which Python leaves out where PYTHONSAFEPATH is set
    places = [str(ROOT), str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run([sys.executable, str(SCRIPT), *options], env=environment, check=False)  # noqa: S603
    return done.returncode == 0


def parsed(description: str) -> argparse.Namespace:
    """Read the command line; ends the program in one line where there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of cuda.jsonl and cuda.md")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, without a GPU; into OUT/cpu and OUT/acc")
    parser.add_argument("--phases", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--device", choices=("cuda", "cpu", FAKE), default="cuda", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.dry_run or torch.cuda.is_available()):
        sys.exit(_refused("expected a CUDA device, found none; --dry-run runs every phase at tiny size without one"))
    return arguments


def _refused(reason: str) -> int:
    sys.stderr.write(f"cuda.py: {reason}\n")
    return 2


def main(description: str) -> int:
    """Measure. description: of --help.

    Returns the exit status: 1 where a phase did not end as it should, and 2 for what is refused.
    """
    started = time.monotonic()
    arguments = parsed(description)
    times = PATIENCE if arguments.dry_run else 1
    deadline = started + times * WHOLE
    phases = [replace(phase, budget=times * phase.budget) for phase in PHASES if phase.name in arguments.phases]
    try:
        if not arguments.dry_run:
            return int(not measure(phases, place_of("cuda"), arguments.out, deadline))
        torch.set_num_threads(1)
        if arguments.device == FAKE:
            is_well = measure_on_fake(phases, arguments.out / FAKE, deadline)
            sys.stdout.flush()
            os._exit(int(not is_well))  # torch takes the backend apart in an order of its own, and fails
        is_well = measure(phases, place_of("cpu"), arguments.out / "cpu", deadline)
        on_fake = [name for name in arguments.phases if name != "stages"]  # programs have no such device
        return int(not (is_well and (not on_fake or start_on_fake(arguments.out, on_fake))))
    except RunError as error:
        return _refused(str(error))
