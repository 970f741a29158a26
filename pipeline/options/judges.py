"""The judges of a study, which score cells without training them in full, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class JudgeOption(Option):
    """A judge, whose scores are the higher the better a cell is said to be.

    reads: `table`, its code takes a Table and returns scores [cells, trainings]; `network`, it takes a network at its
    first weights, images and labels, and returns one score.
    reads_curves: it looks at what a table says of epochs before the last.
    """

    reads: Literal["table", "network"] = "table"
    reads_curves: bool = False


JUDGES: Mapping[str, JudgeOption] = {
    "parameters": JudgeOption(
        label="parameters",
        meaning="the number of parameters",
        code="pipeline.studies.study.judges.table_judges:size",
        arguments={"quantity": "parameters"},
    ),
    "macs": JudgeOption(
        label="MACs",
        meaning="the multiply-accumulates of an image",
        code="pipeline.studies.study.judges.table_judges:size",
        arguments={"quantity": "conv_linear_macs"},
    ),
    "training_speed": JudgeOption(
        label="training speed",
        meaning="the mean accuracy on training images over the first third of the epochs (after Ru et al. 2021)",
        code="pipeline.studies.study.judges.table_judges:training_speed",
        reads_curves=True,
    ),
    "early_validation": JudgeOption(
        label="validation after a third",
        meaning="the accuracy on attacked validation images after a third of the epochs",
        code="pipeline.studies.study.judges.table_judges:early_validation",
        reads_curves=True,
    ),
    "one_training": JudgeOption(
        label="one whole training",
        meaning="the accuracy of one training on attacked validation images, which no judge is expected to beat",
        code="pipeline.studies.study.judges.table_judges:one_training",
    ),
    "synflow": JudgeOption(
        label="SynFlow",
        meaning="the sum of weight times slope of a network of absolute weights on ones (Tanaka et al. 2020)",
        code="pipeline.studies.study.judges.proxies:synflow",
        reads="network",
    ),
    "gradient_norm": JudgeOption(
        label="gradient norm",
        meaning="the norm of the loss's gradient in the weights, at first weights (Abdelfattah et al. 2021)",
        code="pipeline.studies.study.judges.proxies:gradient_norm",
        reads="network",
    ),
    "attacked_gradient_norm": JudgeOption(
        label="gradient norm, attacked",
        meaning="the same on images that one step of the attack has changed",
        code="pipeline.studies.study.judges.proxies:attacked_gradient_norm",
        reads="network",
    ),
    "activation_patterns": JudgeOption(
        label="activation patterns",
        meaning="how differently rectifiers answer to different images: the log determinant of NASWOT (Mellor et al. "
        "2021)",
        code="pipeline.studies.study.judges.proxies:activation_patterns",
        reads="network",
    ),
}
