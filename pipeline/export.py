"""Export: the cell as Python text in DARTS's form, and the trained network as ONNX, checked against PyTorch."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.artifacts import TrainedNetwork
from pipeline.run import RunError, exclusive, write_atomically, write_json
from search_space import Genotype

STAGE = "export"
ONNX_OPSET = 18
LOGIT_TOLERANCE = 1e-4


def check_onnx_installed() -> None:
    """Raise RunError that names the extra when a package for ONNX is missing."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"export.formats has onnx, which needs {', '.join(missing)}: pip install -e '.[onnx]'")


def check_repeatable(genotype: Genotype) -> None:
    """Raise RunError when a network of the genotype gives other logits at each call."""
    if "noise" in genotype.operations:
        raise RunError(
            "export.formats has onnx, but the cell holds noise: its network gives other logits at each call, so no "
            "copy can be checked against it; use export.formats=[darts]"
        )


def export_darts(folder: Path, genotype: Genotype) -> Path:
    """Write genotype_darts.py: the namedtuple that code built on DARTS reads.

    A genotype of NAS-Bench-201 is written as the benchmark's string, to genotype_nasbench201.txt.
    """
    if genotype.reduction is None:
        path = folder / "genotype_nasbench201.txt"
        write_atomically(path, genotype.to_nasbench201() + "\n")
        return path
    try:
        layout = genotype.to_darts()
    except ValueError as error:
        raise RunError(f"export.formats has darts: {error}") from None
    lines = ["from collections import namedtuple", ""]
    lines += [
        'Genotype = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")',
        "",
        "genotype = Genotype(",
    ]
    for name, content in layout.items():
        text = (
            "[" + ", ".join(f'("{op}", {source})' for op, source in content) + "]" if "concat" not in name else content
        )
        lines.append(f"    {name}={text},")
    path = folder / "genotype_darts.py"
    write_atomically(path, "\n".join([*lines, ")", ""]))
    return path


def export_onnx(folder: Path, trained: TrainedNetwork, images: Tensor) -> dict[str, Any]:
    """Write network.onnx (any batch size) and onnx.json, after comparing onnxruntime's logits with PyTorch's.

    images: [N, C, H, W] in [0, 1], to compare on. Raises RunError when a logit differs by more than LOGIT_TOLERANCE or
    a label differs at all; then nothing is written.
    """
    check_onnx_installed()
    check_repeatable(trained.network.genotype)
    network = trained.network.cpu().eval()
    with exclusive(folder, STAGE), tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "network.onnx"
        _to_onnx(network, images[:2], path)
        parity = _compare(network, images, path)
        if parity["largest_logit_difference"] > LOGIT_TOLERANCE or parity["labels_that_differ"]:
            raise RunError(f"onnxruntime and PyTorch disagree: {parity}")
        write_atomically(folder / "network.onnx", path.read_bytes())
        write_json(folder / "onnx.json", parity)
    return parity


def _to_onnx(network: nn.Module, images: Tensor, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():  # the exporter warns of its own internals
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            opset_version=ONNX_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _compare(network: nn.Module, images: Tensor, path: Path) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(images)
    (found,) = session.run(None, {"images": images.numpy()})
    logits = torch.from_numpy(found)
    return {
        "images": len(images),
        "largest_logit_difference": float((logits - expected).abs().max()),
        "labels_that_differ": int((logits.argmax(dim=1) != expected.argmax(dim=1)).sum()),
        "opset": ONNX_OPSET,
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "bytes": path.stat().st_size,
    }
