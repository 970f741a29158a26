"""Small benchmarks of NAS-Bench-201's cells, in the forms in which others published theirs."""

import json

import numpy as np

TEXTS = (
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|",
    "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|skip_connect~1|none~2|",  # nothing goes through it
    "|none~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|nor_conv_1x1~0|none~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|none~2|",
    "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
    "|none~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",  # computes what number 4 does
)
TWIN = 8
"""The id of one that their authors count as the same as number 1, and list without figures."""

STRENGTHS = (0.5, 1.0)
PGD = "pgd@Linf_eps-1.0"


def ids():
    """The ids of TEXTS."""
    return [str(number) for number in range(len(TEXTS))]


def accuracies(seed):
    """An accuracy for each of them, in 10,000ths."""
    values = np.random.default_rng(seed).integers(1000, 9000, size=len(TEXTS)) / 10_000
    return dict(zip(ids(), values.tolist(), strict=True))


def write_meta(folder):
    """Write meta.json: the cells, one of them beside another that counts as the same, and the strengths of PGD."""
    cells = {number: {"nb201-string": text, "isomorph": number} for number, text in zip(ids(), TEXTS, strict=True)}
    cells[str(TWIN)] = {"nb201-string": TEXTS[1], "isomorph": "1"}
    write(folder / "meta.json", {"ids": cells, "epsilons": {"pgd@Linf": STRENGTHS}})


def robustness_dataset(folder, data="cifar10"):
    """Write the form of Jung et al. (2023): one training, a list over strengths for an attack; return FOLDER/DATA."""
    write_meta(folder)
    (folder / data).mkdir()
    listed = zip(ids(), zip(accuracies(1).values(), accuracies(2).values(), strict=True), strict=True)
    for key, values in (("clean", accuracies(0)), ("pgd@Linf", dict(listed)), ("fog", accuracies(3))):
        write(folder / data / f"{key}_accuracy.json", {data: {key: {"accuracy": values}}})
    return folder / data


def nas_robbench(folder, data="cifar10"):
    """Write the form of Wu et al. (2024): metrics of each cell, of three trainings or one; return FILE.json/DATA."""
    write_meta(folder)
    trainings = [accuracies(seed) for seed in range(3)]
    row = {
        number: {
            "val_acc": {"1": accuracies(9)[number], "threeseed": accuracies(9)[number]},
            "val_pgd_8.0_acc": {str(1 + seed): trainings[seed][number] for seed in range(3)} | {"threeseed": 0.5},
            "autoattack": accuracies(8)[number],
        }
        for number in ids()
    }
    write(folder / "NAS-RobBench-201_all.json", {data: row})
    return folder / "NAS-RobBench-201_all.json" / data


def write(path, content):
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
