"""Stages in forks of this process, that are killed or sent a signal at a known moment."""

import dataclasses
import os
import signal
from pathlib import Path

import kills

from pipeline.runs.metrics import MetricLog
from tests.support.scripts import SMALL_CELL, TINY, TINY_META


def killed_at(count, script, overrides):
    """Run a script in a forked process that kills itself with SIGKILL as it makes its count-th file final.

    A file is final when a temporary one is renamed: only then does a run folder change its meaning.
    Returns whether it was killed.
    """

    def die_at_a_renaming():
        rename, seen = Path.replace, [0]

        def rename_or_die(self, target):
            seen[0] += 1
            if seen[0] == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)

        Path.replace = rename_or_die

    status = kills.end_of(kills.start(script, [*TINY, *overrides], before=die_at_a_renaming))
    return status == -signal.SIGKILL


def killed_until_done(script, *overrides):
    """Kill a script at its first renaming, start it again and kill it at its second, and so on; returns the kills."""
    count = 0
    while killed_at(count + 1, script, overrides):
        count += 1
    return count


FOUR_STEPS = ("search.batch_size=10", "retrain.batch_size=16")  # of an epoch


SEARCH = kills.Stage(
    "search", (*TINY, *FOUR_STEPS, "space.nodes=1"), ("genotype.json", "alphas.safetensors", "search.json")
)


RETRAIN = kills.Stage("retrain", (*TINY, *FOUR_STEPS, SMALL_CELL), ("network.safetensors", "network.json"))


META = kills.Stage("meta_train", (*TINY_META, "meta.judge_every=3"), ("theta.safetensors", "theta.json"))


def with_more(stage, *overrides):
    return dataclasses.replace(stage, overrides=(*stage.overrides, *overrides))


def in_fork(stage, folder, before=lambda: None):
    """Exit status and standard error of a stage in a fork of this process, in which `before` is called first."""
    err = folder.with_name(f"{folder.name}.err")
    status = kills.end_of(kills.start(stage.script, [*stage.overrides, f"run={folder}"], before=before, err=err))
    return status, err.read_text()


def assert_same(stage, folder, expected):
    found, wanted = kills.contents(stage, folder), kills.contents(stage, expected)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert list(folder.glob("**/*.tmp")) == []


def signal_after(steps, number):
    """To be called in a fork: it then sends itself a signal as it writes the row of its n-th step."""

    def prepare():
        write, seen = MetricLog.write, [0]

        def write_and_signal(self, step, row):
            write(self, step, row)
            seen[0] += 1
            if seen[0] == steps:
                os.kill(os.getpid(), number)

        MetricLog.write = write_and_signal

    return prepare
