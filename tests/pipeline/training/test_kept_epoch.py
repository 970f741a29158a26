"""Judgements say which epoch is kept, when patience ends, and where training overfitted."""

import pytest

from pipeline.training.recipes import Judged, best, first_overfitted, has_overfitted, is_out_of_patience


def judgements(robust, own=None):
    own = own or [None] * len(robust)
    return [Judged(epoch, a, 0.9, t) for epoch, (a, t) in enumerate(zip(robust, own, strict=True), start=1)]


def test_the_best_epoch_is_the_last_of_those_with_the_highest_accuracy():
    assert best(judgements([0.1, 0.5, 0.5, 0.4])).epoch == 3


@pytest.mark.parametrize(
    ("robust", "patience", "over_after"),
    [
        ([0.1, 0.3, 0.2, 0.25, 0.5], 2, 4),
        ([0.1, 0.3, 0.2, 0.31, 0.5], 2, None),
        ([0.3, 0.3, 0.3], 2, 3),  # as good is not better
        ([0.3, 0.2], 1, 2),
        ([0.3, 0.2, 0.1, 0.0], None, None),
    ],
)
def test_patience_ends_after_so_many_judgements_without_a_better_one(robust, patience, over_after):
    found = judgements(robust)
    over = [count for count in range(len(found) + 1) if is_out_of_patience(found[:count], patience)]
    assert over[:1] == ([over_after] if over_after else [])


@pytest.mark.parametrize(
    ("robust", "own", "epoch"),
    [
        ([0.3, 0.4, 0.05, 0.0], [0.5, 0.6, 0.8, 0.9], 3),  # planted: its own attack is resisted better and better
        ([0.4, 0.3, 0.2], [0.6, 0.6, 0.55], 3),  # slowly
        ([0.3, 0.4, 0.35, 0.45], [0.5, 0.6, 0.55, 0.65], None),  # honest
        ([0.4, 0.05], [0.6, 0.1], None),  # the whole training fell
        ([0.05, 0.0], [0.8, 0.9], None),  # it never resisted PGD: nothing fell
        ([0.4, 0.0], None, None),  # not compared
    ],
)
def test_catastrophic_overfitting_is_a_fall_under_pgd_alone(robust, own, epoch):
    assert first_overfitted(judgements(robust, own)) == epoch


def test_an_epoch_that_recovers_is_no_longer_overfitted():
    found = judgements([0.4, 0.0, 0.38], [0.6, 0.9, 0.6])
    assert [has_overfitted(found[:count]) for count in (1, 2, 3)] == [False, True, False]
    assert first_overfitted(found) == 2
