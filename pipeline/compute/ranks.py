"""The processes of one run on one machine: the first starts the others, and all of them end when one dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from pipeline.compute.interruption import INTERRUPTED, STOPPED, end_now, start

LONGEST_RENDEZVOUS = 600.0  # seconds; a scheduler's processes read their imports from a disk that all of them share
GRACE = 5.0  # seconds for the first process to find out by itself, as it may know more
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # PyTorch's warning of a lost connection has sixty lines
AFTER_A_REQUEST = 600.0  # seconds for the first process to write the checkpoint that a signal asks for


def launch(fabric: Fabric) -> None:
    """Start the other processes of a run, unless a scheduler does, and wait until all of them have come.

    From then on this process ends with one line and STOPPED soon after one of those that it started has died, and they
    end with it, however it ends. Not lightning-fabric's own launcher, which kills the first process without a word.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it does is no news to a user
    environment = getattr(fabric.strategy, "cluster_environment", None)
    if isinstance(fabric.strategy, DDPStrategy) and environment and not environment.creates_processes_externally:
        os.environ |= {
            "MASTER_ADDR": environment.main_address,
            "MASTER_PORT": str(environment.main_port),
            "LOCAL_RANK": "0",  # by which lightning-fabric knows that the processes are there
        }
        for rank in range(1, fabric.strategy.num_processes):
            process = start([sys.executable, *sys.argv], {"LOCAL_RANK": str(rank), **QUIET})
            threading.Thread(target=_end_with, args=(process, rank), daemon=True).start()
    late = f"stopped: not all processes of this run came within {LONGEST_RENDEZVOUS:.0f} s"
    patience = threading.Timer(LONGEST_RENDEZVOUS, end_now, (STOPPED, late))
    patience.daemon = True
    patience.start()
    try:
        fabric.launch()
    finally:
        patience.cancel()


def _end_with(process: subprocess.Popen[str], rank: int) -> None:
    """End this process when another one of the run has ended in anything but 0."""
    code = process.wait()
    if code:
        time.sleep(AFTER_A_REQUEST if code == INTERRUPTED else GRACE)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        end_now(STOPPED, f"stopped: process {rank} of this run ended ({how})")
