"""What runs on the device that is not there, by name: tiny steps and stages, each put together as on a real one.

A step's case returns what is counted; a stage's case only has to end.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch

from attacks import EVALUATION_ATTACKS, evaluation_attack
from e2rnas.cli.app import compose_experiment
from e2rnas.cli.composing.groups import CONF
from e2rnas.cli.programs import main_of
from mgda.registry import BALANCES
from pipeline.data import load
from pipeline.options.recipes import RECIPES
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.settings import EvaluateSettings, SearchSettings
from pipeline.training.network_trainer import Retraining
from search_space import PUBLISHED
from search_space.supernet.host_copies import copied_later, on_host
from tests.support.fake_accelerator.captured import captured_retraining, captured_search
from tests.support.fake_accelerator.device import DEVICE, FakeAccelerator
from tests.support.fake_accelerator.fabric import FakeFabric
from tests.support.optimization.quick_attacks import quick
from tests.support.scripts import FEW_OPERATIONS, IN_ANY_SPACE

BOUNDED = ("objectives=e2rnas", "objectives.parameters=[2500,4000]", "objectives.macs=[null,1e5]")
BASE = (
    *(key for key in IN_ANY_SPACE if not key.startswith("objectives")),
    "search.channels=4",
    "search.batch_size=4",
    "data.crop_padding=1",
    "weight_optimizer=sgd",
)
ROBUST = "objectives=robust"
SMALL = (ROBUST, FEW_OPERATIONS)
CELL = "DARTS_V2"
NEARLY_NONE = 1e-4  # a radius within which nothing is fooled, so that every part of an attack is run
Case = Callable[[], dict[str, Any]]


def search_step(*overrides: str, steps: int = 1) -> dict[str, Any]:
    """Take steps of alphas and weights; count the last, as the first makes what later ones find."""
    experiment = compose_experiment([*BASE, *overrides])
    with FakeAccelerator() as counts:
        search = BilevelSearch(experiment, load(experiment.data), FakeFabric(accelerator="cpu", devices=1))
        search.start_epoch()
        for pair in islice(search.batches(), steps):
            counts.reset()
            search.step(*pair)
        return counts.taken()


def diagnosis() -> dict[str, Any]:
    """Look for signs of collapse, the largest eigenvalue among them."""
    experiment = compose_experiment([*BASE, *SMALL])
    with FakeAccelerator():
        search = BilevelSearch(experiment, load(experiment.data), FakeFabric(accelerator="cpu", devices=1))
        search.diagnose()
    return {}


def retraining_step(*overrides: str) -> dict[str, Any]:
    """Take a step of retraining, and count it."""
    experiment = compose_experiment([*BASE, *overrides])
    genotype = PUBLISHED[CELL].genotype
    with FakeAccelerator() as counts:
        fabric = FakeFabric(accelerator="cpu", devices=1)
        retraining = Retraining(experiment, load(experiment.data), fabric, genotype)
        retraining.start_epoch()
        batch = next(retraining.batches())
        counts.reset()
        retraining.step(*batch)
        return counts.taken()


def attack(name: str, norm: str, *parts: str) -> dict[str, Any]:
    """Attack two images that a small network has right, in vain, where the attack is one of that norm.

    parts: of the attack, by their classes; all by default.
    """
    option = quick(name)
    option = replace(option, classes=parts or option.classes)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    images = torch.rand(2, 1, 8, 8)
    labels = network(images).argmax(1)
    try:
        evaluation_attack(option, network, eps=NEARLY_NONE, norm=norm)
    except ValueError:
        return {}
    with FakeAccelerator() as counts:
        found = evaluation_attack(option, network.to(DEVICE), eps=NEARLY_NONE, norm=norm)
        attacked = found(images.to(DEVICE), labels.to(DEVICE))
        assert bool((network(attacked).argmax(1) == labels.to(DEVICE)).all()) or name == "cw"  # of no radius
        return counts.taken()


def stages(*steps: Sequence[str]) -> dict[str, Any]:
    """Run stages of one folder one after another: each a name and its overrides."""
    with tempfile.TemporaryDirectory() as folder, FakeAccelerator():
        for name, *overrides in steps:
            given = [override.replace("FOLDER", folder) for override in overrides]
            main_of(name)(compose_experiment(given))
    return {}


def resumed_inside_an_epoch() -> dict[str, Any]:
    """Stop a search after its first step, and go on with it from the checkpoint."""
    experiment = compose_experiment([*BASE, *SMALL])
    with FakeAccelerator():
        data, fabric = load(experiment.data), FakeFabric(accelerator="cpu", devices=1)
        search = BilevelSearch(experiment, data, fabric)
        search.start_epoch()
        search.step(*next(search.batches()))
        search.state.end_step()
        with tempfile.TemporaryDirectory() as folder:
            state = _written_and_read(Path(folder) / "state.pt", search.checkpoint({}))
        again = BilevelSearch(experiment, data, fabric)
        again.restore(state)
        again.start_epoch()
        again.step(*next(again.batches()))
    return {}


def _written_and_read(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    torch.save(state, path)
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def planted_generator() -> dict[str, Any]:
    """Draw on the device by a generator of the CPU."""
    with FakeAccelerator():
        torch.rand(2, device=DEVICE, generator=torch.Generator())
    return {}


def planted_mixture() -> dict[str, Any]:
    """Add a tensor of the CPU to one of the device."""
    with FakeAccelerator():
        torch.ones(2, device=DEVICE) + torch.ones(2)
    return {}


def planted_reads_and_copies() -> dict[str, Any]:
    """Read three times, by a value, a mask and a list, and copy twice, by an index and by a tensor."""
    with FakeAccelerator() as counts:
        tensor = torch.ones(3, device=DEVICE)
        counts.reset()
        tensor.sum().item(), tensor[tensor > 0], tensor.tolist()
        tensor[[0, 1]], torch.ones(2).to(DEVICE)
        return counts.taken()


def planted_change() -> dict[str, Any]:
    """Change a parameter of which there is a copy on the CPU: the next shows it, and one that was read with others."""
    with FakeAccelerator() as counts:
        parameter = torch.nn.Parameter(torch.zeros(2, device=DEVICE))
        before = on_host(parameter).tolist()
        with torch.no_grad():
            parameter += 1
        counts.reset()
        after = [on_host(parameter).tolist() for _ in range(2)]
        assert (before, after, counts.reads) == ([0, 0], [[1, 1], [1, 1]], 1)
        with torch.no_grad():
            parameter += 1
        values, keep = copied_later(parameter)
        keep(values.tolist())
        counts.reset()
        assert (on_host(parameter).tolist(), counts.reads) == ([2, 2], 0)
        return counts.taken()


def _configurations(group: str) -> Iterator[str]:
    """Yield the names of a configuration group."""
    yield from (file.stem for file in sorted((CONF / group).glob("*.yaml")))


def cases() -> dict[str, Case]:
    """Return all cases by name."""
    found: dict[str, Case] = {
        "counted search": partial(captured_search, *BASE, *BOUNDED, FEW_OPERATIONS),
        "counted single paths": partial(search_step, ROBUST, FEW_OPERATIONS, "relaxation=single_path", steps=2),
        "counted retraining": partial(captured_retraining, *BASE, "recipe=pgd_at"),
        "planted generator": planted_generator,
        "planted mixture": planted_mixture,
        "planted reads and copies": planted_reads_and_copies,
        "planted change": planted_change,
    }

    def add(name: str, case: Callable[..., dict[str, Any]], *arguments: Any, **options: Any) -> None:
        found[name] = partial(case, *arguments, **options)

    for order in get_args(SearchSettings.model_fields["order"].annotation):
        add(f"search order {order}", search_step, *SMALL, f"search.order={order}")
    for relaxation in _configurations("relaxation"):
        add(f"search relaxation {relaxation}", search_step, *SMALL, f"relaxation={relaxation}")
    for balance in BALANCES:
        add(f"search balance {balance}", search_step, *SMALL, f"balance={balance}")
    for space in _configurations("space"):
        add(f"search space {space}", search_step, ROBUST, f"space={space}", f"space.nodes={3 if 'nas' in space else 4}")
    for optimizer in _configurations("weight_optimizer"):
        add(f"search optimizer {optimizer}", search_step, *SMALL, f"weight_optimizer={optimizer}")
    for relaxation in _configurations("relaxation"):
        add(
            f"capture relaxation {relaxation}",
            captured_search,
            *BASE,
            *SMALL,
            f"relaxation={relaxation}",
            same_kernels=False,
        )
    for space in ("nasbench201", "s4"):  # of the other family, and of operations by edge with noise
        nodes = f"space.nodes={3 if 'nas' in space else 4}"
        add(f"capture space {space}", captured_search, *BASE, ROBUST, f"space={space}", nodes)
    for recipe in RECIPES:
        add(f"capture recipe {recipe}", captured_retraining, *BASE, f"recipe={recipe}")
    add("capture two iterations", captured_search, *BASE, *SMALL, "attack.steps=2")
    add("search carry over", search_step, *SMALL, "attack=carry_over", "search.order=unrolled")
    add("search recompute", search_step, *SMALL, "search.recompute=true")
    add("search diagnosis", diagnosis)
    add("search resumed", resumed_inside_an_epoch)
    for recipe in RECIPES:
        add(f"retrain {recipe}", retraining_step, f"recipe={recipe}")
    add("retrain averaged", retraining_step, "retrain.average_decay=0.9", "retrain.awp_gamma=0.01")
    for norm in get_args(EvaluateSettings.model_fields["norm"].annotation):
        for name in EVALUATION_ATTACKS:
            add(f"attack {name} {norm}", attack, name, norm)
        add(f"attack FAB {norm}", attack, "autoattack", norm, "FAB")
    for name, steps in STAGES.items():
        add(name, stages, *steps)
    return found


def _retrained(seed: int) -> tuple[str, ...]:
    return ("retrain", *BASE, f"genotype={CELL}", "retrain.epochs=1", f"seed={seed}", f"run=FOLDER/{seed}")


RUN = "run=FOLDER"
SEARCHED = ("search", *BASE, FEW_OPERATIONS, *BOUNDED, "search.epochs=1", RUN)
EVALUATED = ("evaluate", *BASE, "evaluate.images=8")
STAGES: dict[str, Sequence[Sequence[str]]] = {
    "stage search": [SEARCHED],
    "stage selection": [
        (
            *SEARCHED,
            *(f"search.selection.{key}" for key in ("pool=4", "candidates=2", "epochs=1", "finalists=2")),
        )
    ],
    "stage evaluation": [_retrained(0), (*EVALUATED, "run=FOLDER/0")],
    "stage transfer": [_retrained(0), _retrained(1), (*EVALUATED, "evaluate.models=[FOLDER/0,FOLDER/1]", RUN)],
    "stage pareto": [
        ("pareto", *BASE, FEW_OPERATIONS, *BOUNDED, "search.epochs=1", "pareto.points=2", "pareto.epochs=1", RUN)
    ],
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what stages print out of what this process prints."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
