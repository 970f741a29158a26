"""Settings of where the work runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.base import (
    Processes,
    Settings,
)


class FabricSettings(Settings):
    """Where the work runs (Lightning Fabric)."""

    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where there is one")
    devices: Processes = Field(1, description="processes, one a device, which share every batch")
    strategy: Literal["auto", "ddp"] = Field("auto", description="how processes are started")
    synchronised_statistics: bool = Field(
        False, description="batch norm in training takes the batches of all processes together, not each its own share"
    )
    threads: Processes | None = Field(None, description="threads of each process on the CPU; null leaves it to PyTorch")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="precision of the arithmetic")
