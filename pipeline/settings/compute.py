"""Settings of where the work runs, and where its figures go."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.options.loggers import LOGGERS
from pipeline.settings.base import (
    OneOf,
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
    graphs: Literal["auto", "off"] = Field(
        "auto",
        description="CUDA: auto records attack and gradients once as a CUDA graph and replays it in each step, where a "
        "step can be recorded; off starts each kernel anew",
    )


class LoggerSettings(Settings):
    """Where figures go beside metrics.jsonl, which all stages write."""

    name: Annotated[str, OneOf(LOGGERS)] = Field("tensorboard", description="what shows figures and pictures of a run")
    project: str = Field(
        "e2rnas",
        min_length=1,
        max_length=128,
        description="wandb, mlflow: project or experiment that runs are put into",
    )

    @model_validator(mode="after")
    def _is_installed(self) -> Self:
        choice = LOGGERS[self.name]
        if choice.package and importlib.util.find_spec(choice.package) is None:
            raise ValueError(
                f"logger.name={self.name} needs {choice.package}, which is not installed: {choice.install}"
            )
        return self
