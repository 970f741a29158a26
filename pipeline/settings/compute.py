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
    tf32: bool = Field(
        False, description="CUDA: products and convolutions of float32 keep 10 bits after the point, which is faster"
    )
    deterministic: bool = Field(
        False, description="CUDA: operations give the same bits in each run where they can, and warn where not; slower"
    )
    cudnn_benchmark: bool = Field(
        False, description="CUDA: cuDNN tries its convolutions and takes the fastest, which may differ from run to run"
    )
    memory_format: Literal["channels_last", "contiguous"] = Field(
        "channels_last",
        description="CUDA: how the weights of networks lie, which features follow; on the CPU all is channels_last",
    )
