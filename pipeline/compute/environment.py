"""Where a result was computed: hardware and versions, which every stage stores beside what it found."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

LIBRARIES = ("e2rnas", "torch", "torchattacks", "lightning-fabric", "numpy")


def environment() -> dict[str, str | int]:
    """Plain JSON values. threads: of PyTorch on the CPU."""
    found: dict[str, str | int] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return found | {name: version(name) for name in LIBRARIES}


def processor() -> str:
    """Return the graphics processor if there is one, else the CPU, by its model's name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
