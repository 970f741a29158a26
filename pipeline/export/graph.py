"""The trained network as a graph that runs without this project: ONNX and torch.export, each checked against it."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from pipeline.errors import RunError
from search_space import Genotype, Network

ONNX_OPSET = 18
LOGIT_TOLERANCE = 1e-4
BATCH_SIZES = (1, 3, 256)

Classify = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] -> logits [N, classes]."""


@dataclass(frozen=True)
class Probes:
    """What network and copy are compared on: clean and attacked, float [N, C, H, W] in [0, 1].

    attack: how the second were made from the first.
    """

    clean: Tensor
    attacked: Tensor
    attack: Mapping[str, Any]


def check_onnx_installed() -> None:
    """Raise RunError that names the extra when a package for ONNX is missing."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"export.formats has onnx, which needs {', '.join(missing)}: pip install -e '.[onnx]'")


def is_repeatable(genotype: Genotype) -> bool:
    """Return whether a network of the genotype gives the same logits at each call; noise is drawn anew."""
    return "noise" not in genotype.operations


def check_repeatable(genotype: Genotype) -> None:
    """Raise RunError when no copy of the genotype's network can be checked."""
    if not is_repeatable(genotype):
        raise RunError(
            f"export.formats has one of {', '.join(GRAPHS)}, but the cell holds noise: its network gives other logits "
            "at each call, so no copy can be checked against it; leave them out"
        )


def trace(network: Network, images: Tensor) -> ExportedProgram:
    """Return the network as a graph for any number of images. images: [N, C, H, W] of at least one, an example."""
    batch = Dim("batch", min=1)
    two = images[torch.arange(2) % len(images)]  # from a batch of one torch.export makes a graph for one image alone
    with _quiet():
        return torch.export.export(network, (two,), dynamic_shapes=({0: batch},))


def checked_graph(
    form: str, network: Network, program: ExportedProgram, probes: Probes
) -> tuple[bytes, dict[str, Any]]:
    """A file of one of GRAPHS, and how near it comes to the network. Raises RunError when it is another function."""
    _, write = GRAPHS[form]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "network"
        classify, versions = write(program, path)
        figures = logit_differences(network, classify, probes)
        if not figures["largest_logit_difference"] <= LOGIT_TOLERANCE or figures["labels_that_differ"]:
            raise RunError(
                f"{form} and the network disagree, and nothing was written: logits differ by up to "
                f"{figures['largest_logit_difference']:.1e} (at most {LOGIT_TOLERANCE:g} is allowed), "
                f"{figures['labels_that_differ']} labels differ"
            )
        content = path.read_bytes()
    return content, figures | versions | {"bytes": len(content)}


def logit_differences(network: Network, classify: Classify, probes: Probes) -> dict[str, Any]:
    """Find the largest difference of a logit and how many labels differ, over batches of all BATCH_SIZES."""
    differences, labels = torch.zeros(2), 0
    for kind, images in enumerate((probes.clean, probes.attacked)):
        for size in BATCH_SIZES:
            batch = images[torch.arange(size) % len(images)]
            with torch.no_grad():
                expected, found = network(batch), classify(batch)
            largest = (found - expected).abs().max()
            differences[kind] = torch.maximum(differences[kind], largest)  # NaN stays NaN
            labels += int((found.argmax(dim=1) != expected.argmax(dim=1)).sum())
    return {
        "images": len(probes.clean),
        "batch_sizes": list(BATCH_SIZES),
        "attack": probes.attack["name"],
        "largest_logit_difference": float(differences.max()),
        "largest_logit_difference_on_attacked_images": float(differences[1]),
        "labels_that_differ": labels,
        "torch": torch.__version__,
    }


def write_onnx(program: ExportedProgram, path: Path) -> tuple[Classify, dict[str, Any]]:
    """Write ONNX and read it back with onnxruntime: what it computes, and the versions."""
    import onnxruntime

    with _quiet():
        onnx = torch.onnx.export(
            program,
            input_names=["images"],
            output_names=["logits"],
            opset_version=ONNX_OPSET,
            dynamo=True,
            verbose=False,
        )
    if onnx is None:
        raise RunError("torch.onnx.export made no ONNX program")
    onnx.save(path, external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def classify(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(logits)

    return classify, {"opset": ONNX_OPSET, "onnxruntime": onnxruntime.__version__}


def write_torch_export(program: ExportedProgram, path: Path) -> tuple[Classify, dict[str, Any]]:
    """Write a .pt2 archive and read it back.

    torch.export.load may unpickle what an archive holds, so this reads the file that was just written, and no other.
    """
    with _quiet(), path.open("wb") as file:
        torch.export.save(program, file)
    with _quiet(), path.open("rb") as file:
        classify: Classify = torch.export.load(file).module()
    return classify, {}


GRAPHS: Mapping[str, tuple[str, Callable[[ExportedProgram, Path], tuple[Classify, dict[str, Any]]]]] = MappingProxyType(
    {"onnx": ("network.onnx", write_onnx), "torch_export": ("network.pt2", write_torch_export)}
)
"""Name of a form -> its file, and what writes it and gives back the function that was written."""


@contextmanager
def _quiet() -> Iterator[None]:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():  # the exporters warn of their own internals
        warnings.simplefilter("ignore")
        yield
