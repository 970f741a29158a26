"""What is arranged before other processes are started, by this program or by Hydra."""

from __future__ import annotations

import os
from multiprocessing import resource_tracker

# variable of Python: python -c and -m, by which processes are begun, look first into the current folder without it
SAFE_PATH = "PYTHONSAFEPATH"
UNASKED = "ignore:resource_tracker:UserWarning"


def start_tracker() -> None:
    """Start the process that removes what a killed one leaves in shared memory, before it would be started unasked.

    A start while signals are kept from other processes would let them through. Neither it nor that of joblib is to warn
    of what it removes after a second Ctrl-C.
    """
    known = os.environ.get("PYTHONWARNINGS", "")
    if UNASKED not in known:
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [known, UNASKED]))
    resource_tracker.ensure_running()


def keep_out_current_folder() -> None:
    """Let processes that are started from now on look for modules nowhere in the current folder."""
    os.environ[SAFE_PATH] = "1"
