"""Ways to spoil the files of a network, and what is said of each."""

import json
import os
import pickle
import struct

import torch
from safetensors.torch import load, save

WEIGHTS, DESCRIPTION = "network.safetensors", "network.json"


FIRST = "cells.0.inputs.0.1.weight"


def of_bytes(name, change):
    """Change the bytes of a file."""

    def spoil(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return spoil


def of_tensors(change):
    """Change the tensors of the weights."""
    return of_bytes(WEIGHTS, lambda content: save(change(load(content))))


def of_json(name, change):
    """Change the content of a JSON file, in place."""

    def spoil(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return spoil


def instead(name, put):
    """Put something else in the place of a file."""

    def spoil(folder):
        (folder / name).unlink()
        put(folder / name)

    return spoil


def of_genotype(change):
    return of_json(DESCRIPTION, lambda content: change(content["genotype"]))


class Planted:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def header_of(size):
    return of_bytes(WEIGHTS, lambda content: struct.pack("<Q", size) + content[8:])


NETWORKS = {
    "truncated weights": (of_bytes(WEIGHTS, lambda content: content[:-100]), WEIGHTS, "cannot be read"),
    "weights cut in the header": (of_bytes(WEIGHTS, lambda content: content[:4]), WEIGHTS, "cannot hold"),
    "empty weights": (of_bytes(WEIGHTS, lambda content: b""), WEIGHTS, "cannot hold"),
    "a header beyond the file": (header_of(2**60), WEIGHTS, "cannot be read"),
    "a header that is too short": (header_of(3), WEIGHTS, "cannot be read"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS, "cannot be read"),
    "a folder as weights": (instead(WEIGHTS, lambda path: path.mkdir()), WEIGHTS, "cannot be read"),
    "weights that lead to themselves": (
        instead(WEIGHTS, lambda path: path.symlink_to(path)),
        WEIGHTS,
        "cannot be read",
    ),
    "pickled weights": (
        of_bytes(WEIGHTS, lambda content: pickle.dumps((Planted(), b"0" * len(content)))),
        WEIGHTS,
        "cannot be read",
    ),
    "weights by torch.save": (
        instead(WEIGHTS, lambda path: torch.save({FIRST: torch.zeros(9000)}, path)),
        WEIGHTS,
        "cannot be read",
    ),
    "a wrong shape": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST].flatten()}),
        WEIGHTS,
        f"1 tensors differ, the first is {FIRST} (expected fractions (4, 12, 1, 1), found fractions (48,))",
    ),
    "whole numbers as weights": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST].long()}),
        WEIGHTS,
        f"the first is {FIRST} (expected fractions (4, 12, 1, 1), found torch.int64 (4, 12, 1, 1))",
    ),
    "a missing tensor": (
        of_tensors(lambda tensors: {name: tensor for name, tensor in tensors.items() if name != FIRST}),
        WEIGHTS,
        f"the first is {FIRST} (expected fractions (4, 12, 1, 1), found None)",
    ),
    "a tensor too many": (
        of_tensors(lambda tensors: tensors | {"more": torch.zeros(1)}),
        WEIGHTS,
        "the first is more (expected None, found fractions (1,))",
    ),
    "weights that are not numbers": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST] * float("nan")}),
        WEIGHTS,
        f"holds values that are not finite, the first in {FIRST}",
    ),
    "weights without end": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST] / 0.0}),
        WEIGHTS,
        f"holds values that are not finite, the first in {FIRST}",
    ),
    "no JSON": (of_bytes(DESCRIPTION, lambda content: content[:-20]), DESCRIPTION, "is not a JSON file"),
    "no text": (of_bytes(DESCRIPTION, lambda content: b"\xff\xfe" + content), DESCRIPTION, "is not text in UTF-8"),
    "deep JSON": (of_bytes(DESCRIPTION, lambda content: b"[" * 100_000), DESCRIPTION, "is not a JSON file"),
    "a folder as description": (
        instead(DESCRIPTION, lambda path: path.mkdir()),
        DESCRIPTION,
        "cannot be read: expected a file, found a folder",
    ),
    "a list": (of_bytes(DESCRIPTION, lambda content: b"[]"), DESCRIPTION, "Input should be"),
    "a field too many": (of_json(DESCRIPTION, lambda d: d.update(width=3)), DESCRIPTION, "width: Extra inputs"),
    "a missing field": (of_json(DESCRIPTION, lambda d: d.pop("layers")), DESCRIPTION, "layers: Field required"),
    "a wrong type": (of_json(DESCRIPTION, lambda d: d.update(layers="3x")), DESCRIPTION, "layers: Input should be a"),
    "another version": (of_json(DESCRIPTION, lambda d: d.update(version=2)), DESCRIPTION, "version: Input should be"),
    "absurd channels": (
        of_json(DESCRIPTION, lambda d: d.update(channels=10**9)),
        DESCRIPTION,
        "channels: Input should be less than or equal to 4096",
    ),
    "more weights than the file has": (
        of_json(DESCRIPTION, lambda d: d.update(channels=4096, layers=4096)),
        WEIGHTS,
        "parameters of network.json: it has",
    ),
    "classes without number": (
        of_json(DESCRIPTION, lambda d: d.update(class_names=["a"])),
        DESCRIPTION,
        "class_names: Tuple should have at least 2 items",
    ),
    "means of other channels": (
        of_json(DESCRIPTION, lambda d: d.update(mean=[0.1, 0.2])),
        DESCRIPTION,
        "mean has 2 values for images of 1 channels",
    ),
    "a standard deviation of 0": (of_json(DESCRIPTION, lambda d: d.update(std=[0])), DESCRIPTION, "must be positive"),
    "a mean that is not a number": (
        of_json(DESCRIPTION, lambda d: d.update(mean=[float("nan")])),
        DESCRIPTION,
        "is not a JSON file: NaN is no number of JSON",
    ),
    "an unknown operation": (
        of_genotype(lambda g: g["normal"]["nodes"][0].__setitem__(0, ["conv_9x9", 0])),
        DESCRIPTION,
        "normal cell: unknown operation 'conv_9x9'; known are",
    ),
    "a cell that cannot be built": (
        of_genotype(lambda g: g["normal"]["nodes"][0].__setitem__(0, ["skip_connect", 2])),
        DESCRIPTION,
        "node 2 reads state 2; only states 0 to 1 come before it",
    ),
    "a network that sees no image": (
        of_genotype(lambda g: [g[name].update(nodes=[[["noise", 0]]], concat=[2]) for name in ("normal", "reduction")]),
        DESCRIPTION,
        "leads through none or noise",
    ),
}


def what_is_there(folder):
    return sorted(str(path) for path in folder.rglob("*"))
