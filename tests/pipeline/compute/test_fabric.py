"""What CUDA may do to figures is said in one place, and only where CUDA is used."""

import os

import pytest
import torch

from pipeline.compute import fabric
from pipeline.settings import FabricSettings


def flags():
    return {
        "products": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cudnn.allow_tf32,
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.backends.cudnn.deterministic,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
    }


EXACT = {"products": "highest", "tf32": False, "benchmark": False, "deterministic": False, "algorithms": False}
FAST = EXACT | {"products": "high", "tf32": True, "benchmark": True}
SAME = EXACT | {"deterministic": True, "algorithms": True}


@pytest.fixture
def one_gpu(monkeypatch):
    """A machine with a GPU, as far as `make_fabric` asks."""
    before = flags()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(fabric, "Fabric", lambda **chosen: chosen)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    yield
    torch.set_float32_matmul_precision(before["products"])
    torch.backends.cudnn.allow_tf32 = before["tf32"]
    torch.backends.cudnn.benchmark = before["benchmark"]
    torch.backends.cudnn.deterministic = before["deterministic"]
    torch.use_deterministic_algorithms(before["algorithms"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, EXACT),
        ({"tf32": True, "cudnn_benchmark": True}, FAST),
        ({"deterministic": True}, SAME),
    ],
)
def test_a_run_on_cuda_computes_as_its_settings_say(one_gpu, settings, expected):
    assert fabric.make_fabric(FabricSettings(**settings))["accelerator"] == "cuda"
    assert flags() == expected
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == expected["algorithms"]


def test_a_run_on_the_cpu_leaves_the_flags_of_its_process(one_gpu):
    before = flags()
    fabric.make_fabric(FabricSettings(accelerator="cpu", tf32=True, cudnn_benchmark=True, deterministic=True))
    assert flags() == before


def test_weights_on_the_cpu_are_channels_last_whatever_is_said():
    for memory_format in ("channels_last", "contiguous"):
        convolution = torch.nn.Conv2d(3, 4, 3)
        fabric.lay_out(convolution, FabricSettings(memory_format=memory_format))
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
