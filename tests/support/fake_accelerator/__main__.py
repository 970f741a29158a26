"""Runs cases on the device that is not there, and prints a line of JSON for each.

python -m tests.support.fake_accelerator [BEGINNING ...]: cases whose name begins so; all by default
"""

import json
import os
import sys
import time
import traceback

import torch

from tests.support.fake_accelerator.cases import cases, quiet
from tests.support.fake_accelerator.fabric import install


def main():
    """Print name, error or none, counts, and seconds of the processor of each case."""
    torch.set_num_threads(1)
    install()
    chosen = {name: case for name, case in cases().items() if name.startswith(tuple(sys.argv[1:]) or "")}
    for name, case in chosen.items():
        started, error, counts = time.process_time(), "", {}
        try:
            with quiet():
                counts = case()
        except Exception:
            error = traceback.format_exc()
        seconds = round(time.process_time() - started, 2)
        sys.stdout.write(json.dumps({"name": name, "error": error, "counts": counts, "seconds": seconds}) + "\n")
        sys.stdout.flush()
    os._exit(0)  # torch takes the backend apart in an order of its own, and fails


main()
