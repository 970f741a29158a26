"""Which tasks judge, and which other ones serve to choose.

Nothing that is chosen (an architecture, a setting, the step of a meta-training that is kept) may look at those that
judge. Names say what differs from a batch of 64 and 200 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generalisation_tasks.task import BenchmarkTask

Row = tuple[str, str, str, Mapping[str, Any], Mapping[str, Any]]  # name, source, network, sizes, more of BenchmarkTask
DIGITS, RAW, STANDARDISED = "digits", "digits, 0 to 16", "digits, standardised"
COLOUR, STANDARDISED_COLOUR = "cifar", "cifar, standardised"


def _family(family: str, *rows: Row) -> tuple[BenchmarkTask, ...]:
    return tuple(
        BenchmarkTask(name, family, source, network, sizes, **more) for name, source, network, sizes, more in rows
    )


def _dense(depth: int, width: int, **more: Any) -> dict[str, Any]:
    return {"depth": depth, "width": width, **more}


def _conv(*channels: int, norm: bool = False, **more: Any) -> dict[str, Any]:
    return {"channels": channels, "norm": norm, **more}


MLP, CONV, CELL, SEQUENCE, ATTENTION = "perceptron", "convolutions", "cell", "recurrent", "attention"
RESIDUAL, DENSE_RESIDUAL, CODED = "residual_convolutions", "residual_perceptron", "autoencoder"
SAID_AGAIN = {"loss": "reconstruction"}

JUDGING: tuple[BenchmarkTask, ...] = (
    *_family(
        "perceptrons",
        ("2 x 16, batch 32", RAW, MLP, _dense(2, 16), {"batch_size": 32}),
        ("3 x 128, 1,000 steps", DIGITS, MLP, _dense(3, 128), {"steps": 1000}),
        ("4 x 512, gelu, batch 128", STANDARDISED, MLP, _dense(4, 512, activation="gelu"), {"batch_size": 128}),
        ("4 x 2048, batch 32", STANDARDISED, MLP, _dense(4, 2048), {"batch_size": 32}),
        (
            "8 x 64, tanh, batch 16, 1,000 steps",
            DIGITS,
            MLP,
            _dense(8, 64, activation="tanh"),
            {"batch_size": 16, "steps": 1000},
        ),
        ("6 x 256, layer norm, batch 512", DIGITS, MLP, _dense(6, 256, norm=True), {"batch_size": 512}),
        ("2 x 32, batch 32, 5,000 steps", STANDARDISED, MLP, _dense(2, 32), {"batch_size": 32, "steps": 5000}),
        ("2 x 128, batch 8, 1,000 steps", DIGITS, MLP, _dense(2, 128), {"batch_size": 8, "steps": 1000}),
        ("5 x 64, batch 512", RAW, MLP, _dense(5, 64), {"batch_size": 512}),
        ("2 x 1024, wine, batch 16", "wine, raw", MLP, _dense(2, 1024), {"batch_size": 16}),
        ("3 x 64, diabetes, 1,000 steps", "diabetes", MLP, _dense(3, 64), {"steps": 1000, "loss": "squared error"}),
    ),
    *_family(
        "other units",
        ("3 x 96, loss x 100", DIGITS, MLP, _dense(3, 96), {"unit": 100.0}),
        ("3 x 96, loss / 100", DIGITS, MLP, _dense(3, 96), {"unit": 0.01}),
        ("convolutions, batch norm, loss x 100", STANDARDISED, CONV, _conv(12, 20, norm=True), {"unit": 100.0}),
        ("autoencoder, loss / 100", DIGITS, CODED, {"widths": (80, 16, 80)}, {**SAID_AGAIN, "unit": 0.01}),
    ),
    *_family(
        "convolutions",
        ("16-32, 0 to 16", RAW, CONV, _conv(16, 32), {}),
        ("16-32, standardised", STANDARDISED, CONV, _conv(16, 32), {}),
        ("24-48, batch norm, 0 to 16", RAW, CONV, _conv(24, 48, norm=True), {}),
        ("24-48-48, batch norm, batch 256", STANDARDISED, CONV, _conv(24, 48, 48, norm=True), {"batch_size": 256}),
        (
            "8-16-16-16, tanh, batch 8, 1,000 steps",
            DIGITS,
            CONV,
            _conv(8, 16, 16, 16, activation="tanh"),
            {"batch_size": 8, "steps": 1000},
        ),
        ("8-16, batch 32, 5,000 steps", DIGITS, CONV, _conv(8, 16), {"batch_size": 32, "steps": 5000}),
    ),
    *_family(
        "residual networks",
        ("3 blocks of 16, batch norm", STANDARDISED, RESIDUAL, {"channels": 16, "blocks": 3, "norm": True}, {}),
        (
            "4 blocks of 12, no norm, batch 32",
            DIGITS,
            RESIDUAL,
            {"channels": 12, "blocks": 4, "norm": False},
            {"batch_size": 32},
        ),
        ("4 dense blocks of 128, 1,000 steps", DIGITS, DENSE_RESIDUAL, {"width": 128, "blocks": 4}, {"steps": 1000}),
    ),
    *_family(
        "cells and supernet",
        (
            "PDARTS, 6 channels, batch 32",
            DIGITS,
            CELL,
            {"cell": "PDARTS", "channels": 6, "layers": 3},
            {"batch_size": 32},
        ),
        ("DARTS_V2, 8 channels", STANDARDISED, CELL, {"cell": "DARTS_V2", "channels": 8, "layers": 3}, {}),
        ("RACL, 4 channels, batch 16", RAW, CELL, {"cell": "RACL", "channels": 4, "layers": 4}, {"batch_size": 16}),
        ("supernet, 4 channels, batch 32", DIGITS, "supernet", {"channels": 4, "layers": 3}, {"batch_size": 32}),
    ),
    *_family(
        "autoencoders",
        ("64-128-16-128", DIGITS, CODED, {"widths": (128, 16, 128)}, SAID_AGAIN),
        (
            "64-256-64-8-64-256, tanh",
            STANDARDISED,
            CODED,
            {"widths": (256, 64, 8, 64, 256), "activation": "tanh"},
            SAID_AGAIN,
        ),
        (
            "convolutions 16-8, 1,000 steps",
            DIGITS,
            "conv_autoencoder",
            {"channels": 16, "code": 8},
            {**SAID_AGAIN, "steps": 1000},
        ),
    ),
    *_family(
        "recurrent",
        ("rnn of 64, rows of digits", "rows of digits", SEQUENCE, {"kind": "rnn", "hidden": 64}, {}),
        (
            "gru of 96, rows of digits, 1,000 steps",
            "rows of digits",
            SEQUENCE,
            {"kind": "gru", "hidden": 96},
            {"steps": 1000},
        ),
        ("lstm of 128, text, batch 32", "text", SEQUENCE, {"kind": "lstm", "hidden": 128}, {"batch_size": 32}),
        ("gru of 48, waves, batch 128", "waves", SEQUENCE, {"kind": "gru", "hidden": 48}, {"batch_size": 128}),
    ),
    *_family(
        "attention",
        (
            "2 layers of 64, text, batch 32",
            "text",
            ATTENTION,
            {"width": 64, "layers": 2, "causal": True},
            {"batch_size": 32},
        ),
        ("1 layer of 32, rows of digits", "rows of digits", ATTENTION, {"width": 32, "layers": 1}, {}),
        ("2 layers of 48, sorting, 1,000 steps", "sorting", ATTENTION, {"width": 48, "layers": 2}, {"steps": 1000}),
        ("1 layer of 128, sums, 1,000 steps", "sums", ATTENTION, {"width": 128, "layers": 1}, {"steps": 1000}),
    ),
    *_family(
        "colour images",
        ("CIFAR-10: 32-64-64", COLOUR, CONV, _conv(32, 64, 64), {}),
        ("CIFAR-10: 32-64-64, standardised", STANDARDISED_COLOUR, CONV, _conv(32, 64, 64), {}),
        (
            "CIFAR-10: 32-64-64, batch norm, 1,000 steps",
            STANDARDISED_COLOUR,
            CONV,
            _conv(32, 64, 64, norm=True),
            {"steps": 1000},
        ),
        ("CIFAR-10: 2 x 128", COLOUR, MLP, _dense(2, 128), {}),
        ("CIFAR-10: 3 x 1024, batch 128", STANDARDISED_COLOUR, MLP, _dense(3, 1024), {"batch_size": 128}),
        (
            "CIFAR-10: 3 blocks of 24, batch norm",
            STANDARDISED_COLOUR,
            RESIDUAL,
            {"channels": 24, "blocks": 3, "norm": True, "stride": 2},
            {},
        ),
        (
            "CIFAR-10: PDARTS, 8 channels, batch 32",
            COLOUR,
            CELL,
            {"cell": "PDARTS", "channels": 8, "layers": 3},
            {"batch_size": 32},
        ),
        ("CIFAR-10: autoencoder 32-16", COLOUR, "conv_autoencoder", {"channels": 32, "code": 16}, SAID_AGAIN),
    ),
)

DEVELOPMENT: tuple[BenchmarkTask, ...] = (
    *_family(
        "perceptrons",
        ("3 x 48, batch 48", STANDARDISED, MLP, _dense(3, 48), {"batch_size": 48}),
        ("5 x 200, cancer", "cancer", MLP, _dense(5, 200), {}),
        ("2 x 400, cancer, raw, batch 16", "cancer, raw", MLP, _dense(2, 400), {"batch_size": 16}),
        ("2 x 700, spirals, 500 steps", "spirals", MLP, _dense(2, 700), {"steps": 500}),
        ("3 x 40, loss x 30", DIGITS, MLP, _dense(3, 40), {"unit": 30.0}),
        ("3 x 40, loss / 30, 2,000 steps", DIGITS, MLP, _dense(3, 40), {"unit": 1 / 30, "steps": 2000}),
    ),
    *_family(
        "convolutions",
        ("12-24, 0 to 16, batch 48", RAW, CONV, _conv(12, 24), {"batch_size": 48}),
        ("10-30, batch norm", DIGITS, CONV, _conv(10, 30, norm=True), {}),
    ),
    *_family(
        "residual networks",
        ("2 blocks of 10, batch norm", DIGITS, RESIDUAL, {"channels": 10, "blocks": 2, "norm": True}, {}),
    ),
    *_family(
        "cells and supernet",
        ("PC_DARTS_cifar, 5 channels", DIGITS, CELL, {"cell": "PC_DARTS_cifar", "channels": 5, "layers": 3}, {}),
        ("supernet, 2 channels, batch 24", STANDARDISED, "supernet", {"channels": 2, "layers": 3}, {"batch_size": 24}),
    ),
    *_family("autoencoders", ("64-90-20-90", DIGITS, CODED, {"widths": (90, 20, 90)}, SAID_AGAIN)),
    *_family(
        "recurrent",
        ("rnn of 40, waves, batch 48", "waves", SEQUENCE, {"kind": "rnn", "hidden": 40}, {"batch_size": 48}),
        ("gru of 56, text", "text", SEQUENCE, {"kind": "gru", "hidden": 56}, {}),
    ),
    *_family("attention", ("1 layer of 40, sorting", "sorting", ATTENTION, {"width": 40, "layers": 1}, {})),
    *_family(
        "colour images",
        ("CIFAR-10: 20-40", COLOUR, CONV, _conv(20, 40), {}),
        (
            "CIFAR-10: 2 blocks of 16, batch norm",
            STANDARDISED_COLOUR,
            RESIDUAL,
            {"channels": 16, "blocks": 2, "norm": True, "stride": 2},
            {},
        ),
    ),
)

LISTS: Mapping[str, tuple[BenchmarkTask, ...]] = {"judging": JUDGING, "development": DEVELOPMENT}
