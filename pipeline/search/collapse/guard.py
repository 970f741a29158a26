"""When a search has collapsed, and to which epoch it goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pipeline.options.guards import GUARD_RULES
from pipeline.settings import GuardSettings


def epoch_before_rise(eigenvalues: Sequence[float], *, window: int, ratio: float) -> int | None:
    """The index of the epoch to return to, window epochs before the last; None while the rule is kept.

    Broken when mean(t - window) / mean(t) < ratio, with mean(t) that of the `window` eigenvalues up to t, of fewer at
    the start (Zela et al. 2020, section 4.3, where the mean is centred and window is 5, ratio 0.75). A mean that is not
    positive is no rise.
    """
    if len(eigenvalues) <= window:
        return None
    earlier = eigenvalues[:-window]
    before, now = fmean(earlier[-window:]), fmean(eigenvalues[-window:])
    return len(earlier) - 1 if now > 0 and before < ratio * now else None


def epoch_before_skips(skips: Sequence[int], *, most: int) -> int | None:
    """The index of the last epoch with at most `most` skips, where the last one has more; None where there is none.

    After DARTS+ (Liang et al. 2019), which stops when a normal cell holds two skips or more.
    """
    kept = [epoch for epoch, count in enumerate(skips) if count <= most]
    return kept[-1] if kept and kept[-1] < len(skips) - 1 else None


def has_risen(eigenvalues: Sequence[float], settings: GuardSettings) -> int | None:
    """Apply `epoch_before_rise` with the numbers of the settings."""
    return epoch_before_rise(eigenvalues, window=settings.window, ratio=settings.ratio)


def has_too_many_skips(skips: Sequence[float], settings: GuardSettings) -> int | None:
    """Apply `epoch_before_skips` with the number of the settings."""
    return epoch_before_skips([int(count) for count in skips], most=settings.most_skips)


class Guard:
    """Watches the epochs of a search, and says when, and to which epoch, its alphas go back.

    events: {"after": epoch, "back_to": epoch} of each time that the rule was broken, counted from 1. A search that
    rolls back by its skips may go back to 0, the alphas that it began with: these are undecided and prefer no skip.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings, self._rule = settings, GUARD_RULES[settings.rule]
        first = self._rule.begins_with if settings.action == "rollback" else None
        self._watched: list[tuple[int, float]] = [] if first is None else [(0, first)]
        self.events: list[dict[str, int]] = []

    @property
    def has_stopped(self) -> bool:
        """Whether the search is over."""
        return self._settings.action == "stop" and bool(self.events)

    def watch(self, epoch: int, signs: Mapping[str, Any]) -> int | None:
        """Take the signs of one more epoch, from 1; the epoch to go back to where the rule is broken.

        The epochs after that one are then forgotten: what follows is held against those before.
        """
        if self._settings.action == "none":
            return None
        kind, name = self._rule.sign
        self._watched.append((epoch, float(signs[kind][name])))
        index: int | None = self._rule.load()([value for _, value in self._watched], self._settings)
        if index is None:
            return None
        del self._watched[index + 1 :]
        back_to = self._watched[index][0]
        self.events.append({"after": epoch, "back_to": back_to})
        return back_to

    def state(self) -> dict[str, Any]:
        """Collect all that `restore` needs."""
        return {"watched": [list(each) for each in self._watched], "events": [dict(event) for event in self.events]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self._watched = [(epoch, value) for epoch, value in state["watched"]]
        self.events = [dict(event) for event in state["events"]]
