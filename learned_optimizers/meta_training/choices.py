"""What is chosen of a meta-training: the estimator of its gradients, and the shape of the teacher that is imitated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from on_demand import Option

Estimator = Literal["es", "rp", "merged", "pes", "backprop"]

Refresh = Literal["best", "own", "none"]
"""Whose theta the snapshot of a member's trainer becomes after a judgement of a population."""

SHAPES: Mapping[str, Option] = {
    "momentum": Option(label="momentum", meaning="the normalised momentum as it is", code="torch:clone"),
    "squashed": Option(
        label="squashed momentum", meaning="its tanh, a soft limit to each element's step", code="torch:tanh"
    ),
}
"""What teachers do to the normalised momentum."""
