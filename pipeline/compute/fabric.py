"""The machine that a stage runs on: devices, threads, precision and processes, and what CUDA may do to figures."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from pipeline.errors import RunError
from pipeline.settings import FabricSettings

LONGEST_WAIT = timedelta(days=1)  # for another process: one batch under AutoAttack may take hours


def make_fabric(settings: FabricSettings) -> Fabric:
    """Choose devices, threads, precision and processes. Raises RunError when the machine has not what is asked for."""
    available = torch.cuda.device_count()
    wants_cuda = settings.accelerator == "cuda" or (settings.accelerator == "auto" and available > 0)
    if wants_cuda and settings.devices > available:
        raise RunError(f"fabric asks for {settings.devices} CUDA devices; this machine has {available}")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    accelerator = settings.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if available else "cpu"
    if accelerator == "cuda":
        set_cuda_arithmetic(settings)
    strategy = DDPStrategy(timeout=LONGEST_WAIT) if settings.devices > 1 else settings.strategy
    return Fabric(accelerator=accelerator, devices=settings.devices, strategy=strategy, precision=settings.precision)


def set_cuda_arithmetic(settings: FabricSettings) -> None:
    """Say what CUDA may do to figures, in all of this process: TF32, choices of cuDNN, and determinism.

    PyTorch's own defaults are TF32 in convolutions and not in products, so that figures depend on which of the two an
    operation takes.
    """
    torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = settings.tf32
    torch.backends.cudnn.benchmark = settings.cudnn_benchmark
    torch.backends.cudnn.deterministic = settings.deterministic
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not, and PyTorch says so
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)


def lay_out(module: nn.Module, settings: FabricSettings) -> None:
    """Lay out a module's weights, once it is on its device, as its convolutions are fastest."""
    chosen = settings.memory_format if next(module.parameters()).device.type == "cuda" else "channels_last"
    memory_format = torch.channels_last if chosen == "channels_last" else torch.contiguous_format
    module.to(memory_format=memory_format)  # type: ignore[call-overload]
