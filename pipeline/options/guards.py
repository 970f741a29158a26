"""The rules there are by which a guard says that a search has collapsed, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class GuardRule(Option):
    """A rule; its code takes the signs of the epochs so far and GuardSettings, and returns the index to go back to.

    sign: where it stands in the signs of an epoch, as metrics.jsonl has them.
    begins_with: the sign of the alphas that a search begins with, where going back may lead there.
    """

    sign: tuple[str, str]
    begins_with: float | None = None


GUARD_RULES: Mapping[str, GuardRule] = {
    "eigenvalue": GuardRule(
        label="RobustDARTS",
        meaning="the largest eigenvalue in alpha has risen over `window` epochs (Zela et al. 2020)",
        code="pipeline.search.collapse.guard:has_risen",
        sign=("eigenvalue", "value"),
    ),
    "skips": GuardRule(
        label="DARTS+",
        meaning="the normal cell holds more than `most_skips` skips (Liang et al. 2019)",
        code="pipeline.search.collapse.guard:has_too_many_skips",
        sign=("skips", "normal"),
        begins_with=0.0,
    ),
}
