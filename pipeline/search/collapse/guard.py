"""When a search has collapsed, and to which epoch it goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

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


class Guard:
    """Watches the epochs of a search, and says when, and to which epoch, its alphas go back.

    events: {"after": epoch, "back_to": epoch} of each time that the rule was broken, counted from 1. A search that
    rolls back by its skips may go back to 0, the alphas that it began with: these are undecided and prefer no skip.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        begins_well = settings.action == "rollback" and settings.rule == "skips"
        self._watched: list[tuple[int, float]] = [(0, 0.0)] if begins_well else []
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
        sign = signs["eigenvalue"]["value"] if self._settings.rule == "eigenvalue" else signs["skips"]["normal"]
        self._watched.append((epoch, float(sign)))
        index = self._broken([value for _, value in self._watched])
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

    def _broken(self, values: Sequence[float]) -> int | None:
        settings = self._settings
        if settings.rule == "skips":
            return epoch_before_skips([int(value) for value in values], most=settings.most_skips)
        return epoch_before_rise(values, window=settings.window, ratio=settings.ratio)
