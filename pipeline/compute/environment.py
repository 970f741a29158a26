"""Where a result was computed: hardware and versions, which every stage stores beside what it found."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("e2rnas", "torch", "torchattacks", "lightning-fabric", "numpy")


def environment() -> dict[str, str | int]:
    """Plain JSON values. threads: of PyTorch on the CPU. commit: of a checkout, if the code is one. date: in UTC."""
    found: dict[str, str | int] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    found |= {name: version(name) for name in LIBRARIES}
    if known := commit():
        found["commit"] = known
    return found | {"date": datetime.now(UTC).date().isoformat()}


@cache
def commit() -> str:
    """Return the commit of this checkout, with `-dirty` where files differ from it; empty outside of one."""
    # without locks, as somebody may be committing in this checkout
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    if not (ROOT / ".git").exists():
        return ""
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def processor() -> str:
    """Return the graphics processor if there is one, else the CPU, by its model's name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
