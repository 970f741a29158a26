"""The scripts, as processes and as functions, and the smallest settings with which each stage runs."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from search_space import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]


IN_ANY_SPACE = (
    "data.limit=80",
    "data.test_limit=40",
    "space.nodes=2",
    "attack.eps=0.1",
    "attack.steps=1",
    "search.channels=2",
    "search.layers=3",
    "search.derived_channels=4",
    "search.derived_layers=3",
    "search.epochs=2",
    "search.batch_size=20",
    "search.alpha_learning_rate=0.1",
    "search.diagnostics.iterations=0",
    "objectives=e2rnas",
    "objectives.parameters=[2500,4000]",
    "objectives.macs=[null,1e5]",
    "retrain.channels=4",
    "retrain.layers=3",
    "retrain.epochs=2",
    "retrain.batch_size=24",
    "retrain.auxiliary_weight=0.4",
    "retrain.attack.steps=2",
    "evaluate.attacks=[fgsm,pgd-20]",
    "fabric.accelerator=cpu",
)
"""Overrides: every stage in a second or two on 8x8 digits, in whichever search space."""


FEW_OPERATIONS = "space.operations=[none,max_pool_3x3,skip_connect,sep_conv_5x5]"
"""Half of the operations, whose cells have the same range of sizes, for a search in two thirds of the time."""


TINY = (*IN_ANY_SPACE, FEW_OPERATIONS)
"""Every stage in a second on 8x8 digits."""


MEASURED = "search.diagnostics.iterations=2"
"""For a search that measures an eigenvalue each epoch, which takes as long as a step."""


def operations_of(*names):
    """Return an override of the space: the operations of published cells, which a search of it might find."""
    cells = [cell for name in names for cell in PUBLISHED[name].genotype.cells.values()]
    operations = sorted({edge.operation for cell in cells for edge in cell.edges})
    return f"space.operations=[{','.join(('none', *operations))}]"


SMALL_CELL_FILE = ROOT / "tests" / "support" / "cells" / "small_cell.json"
SMALL_CELL = f"genotype={SMALL_CELL_FILE}"
"""An override: cells of two operations, whose network is trained in a third of the time of a published one's."""


TINY_EVALUATION = tuple(key for key in TINY if not key.startswith(("search.", "retrain.", "objectives")))
"""Those of them that contradict no network: its training was given its own."""


def status_of(patch, name, overrides):
    """Exit status of scripts/<name>.py, run in this process."""
    # of a process that ends with its program; this one runs other tests after it
    patch.setattr("e2rnas.cli.signals.watch", lambda: None)
    patch.setattr(sys, "argv", [f"{name}.py", *overrides])
    try:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    except SystemExit as stop:
        return stop.code
    return 0


def finish_script(name, *overrides):
    """Run scripts/<name>.py in this process, as fixtures of a module do, and see that it succeeds."""
    with pytest.MonkeyPatch.context() as patch:
        assert status_of(patch, name, overrides) == 0


def script_process(name, *overrides, **options):
    """Start scripts/<name>.py as a user would, with warnings as errors where they are ours to mend."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *overrides]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run_script(name, *overrides):
    """Exit status, standard output and standard error of a script."""
    process = script_process(name, *overrides)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


TINY_META = (
    "meta.families=[quadratics,mlp_clusters]",
    "meta.tasks=2",
    "meta.judged_tasks=1",
    "meta.horizon=10",
    "meta.first_length=3",
    "meta.last_length=5",
    "meta.pairs=2",
    "meta.streams=3",
    "meta.steps=3",
    "meta.judge_every=2",
    "meta.outer_batches=1",
    "meta.processes=1",
    "fabric.threads=1",
    "fabric.accelerator=cpu",
)
TINY_CONTINUATION = (
    "continuation_training.stages=2",
    "continuation_training.channels=4",
    "continuation_training.steps=5",
    "continuation_training.batch_size=3",
    "continuation_training.judge_every=2",
    "continuation_training.judged_batches=2",
    "continuation_training.calibration_batches=2",
)
