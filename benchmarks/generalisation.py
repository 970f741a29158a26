"""Compare learned optimizers with AdamW, Schedule-Free AdamW and SGD, on tasks that no training and no choice has seen.

    python benchmarks/generalisation.py --cifar FOLDER            # all of it; many hours on two cores
    python benchmarks/generalisation.py --seeds 1 --most-steps 200 --most-weights 100000    # an hour on one
    python benchmarks/generalisation.py --list development --theta runs/meta/theta.safetensors
    python benchmarks/generalisation.py --rates-of benchmarks/results/generalisation.json    # a sixth of the time

The judging list serves this table alone: what is chosen is chosen by the development list. Every optimizer starts from
the same weights and sees the same batches. AdamW and SGD have seven rates, the best of which is that with the lowest
training loss at the end, mean over the seeds; the learned ones and schedule-free AdamW (`pip install schedulefree`)
run as they are. Finished trainings are kept in --runs, and none is done twice. With --rates-of, a record of before says
which rate is the best on a task, and only that and AdamW's default are trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

import record
import torch
from generalisation_tasks import LISTS, BenchmarkTask
from generalisation_tasks.comparison import BEST, BEST_SGD, DEFAULT_RATE, TaskResult, compare
from generalisation_tasks.contestants import ADAMW, FREE, SGDM, WINDOW, Contestant, contestants, train
from generalisation_tasks.report import all_tasks, by_family, by_task, draw_profile, figures
from generalisation_tasks.runs import FinishedRuns, RunKey, key_of
from generalisation_tasks.task import count_weights
from matplotlib import rc_context

from pipeline.presentation.style import STYLE
from pipeline.runs.files import read_json, write_json
from pipeline.runs.progress import progress_bar

LEAST_STEPS = 2
BestRates = Mapping[str, Mapping[str, tuple[float | None, ...]]]


@dataclass(frozen=True)
class Chosen:
    """What is run: tasks with the number of their weights, optimizers, seeds, and the most steps of a training.

    rates: of tasks whose best rates are known, by the names of task and optimizer.
    """

    tasks: Sequence[tuple[BenchmarkTask, int]]
    contestants: Sequence[Contestant]
    seeds: int
    most_steps: int | None
    cifar: Path | None
    rates: BestRates

    def contestants_of(self, task: BenchmarkTask) -> list[Contestant]:
        """Return the optimizers, those with known rates at these alone."""
        known = self.rates.get(task.name, {})
        return [replace(one, rates=known.get(one.name, one.rates)) for one in self.contestants]

    def steps(self, task: BenchmarkTask) -> int:
        """Steps of a task's trainings."""
        return task.steps if self.most_steps is None else min(task.steps, self.most_steps)

    def trainings(self) -> Iterator[tuple[RunKey, BenchmarkTask, Contestant]]:
        """Yield every training that the tables need."""
        for task, _ in self.tasks:
            for contestant in self.contestants_of(task):
                for rate, seed in product(contestant.rates, range(self.seeds)):
                    yield key_of(task, contestant, rate, seed, self.steps(task)), task, contestant


def choose(arguments: argparse.Namespace) -> Chosen:
    """Find the tasks and optimizers that the command line asks for. Raises SystemExit where there are none."""
    patterns = arguments.tasks
    tasks = [
        task
        for task in LISTS[arguments.list]
        if any(fnmatchcase(name, pattern) for pattern in patterns for name in (task.name, task.family))
    ]
    left_out = [task for task in tasks if task.needs_cifar and arguments.cifar is None]
    if left_out:
        print(f"{len(left_out)} tasks on CIFAR-10 are left out: give its folder by --cifar", flush=True)
    found = contestants(arguments.theta)
    if FREE not in [contestant.name for contestant in found]:
        print(f"{FREE} is left out: pip install schedulefree", flush=True)
    sized = [(task, size_of(task, arguments.cifar)) for task in tasks if task not in left_out]
    sized = [(task, size) for task, size in sized if arguments.most_weights is None or size <= arguments.most_weights]
    if not sized:
        raise SystemExit("no task of the list is asked for; --tasks takes names and families, with * for any letters")
    rates = {} if arguments.rates_of is None else known_rates(arguments.rates_of)
    return Chosen(sized, found, arguments.seeds, arguments.most_steps, arguments.cifar, rates)


def known_rates(path: Path) -> BestRates:
    """Read the rates of AdamW and SGD out of a record: AdamW's default and best one, and SGD's best."""
    tasks = read_json(path)["tasks"]
    best = {row["task"]: {name: one["rate"] for name, one in row["optimizers"].items()} for row in tasks}
    return {
        name: {ADAMW: tuple(dict.fromkeys((DEFAULT_RATE, rates[BEST]))), SGDM: (rates[BEST_SGD],)}
        for name, rates in best.items()
    }


def size_of(task: BenchmarkTask, cifar: Path | None) -> int:
    """Weights of a task's network."""
    return count_weights(task.build(task.examples(cifar), 0))


def measure(chosen: Chosen, path: Path) -> list[TaskResult]:
    """Train what is not done yet; what the trainings of each task say."""
    runs, everything = FinishedRuns(path), list(chosen.trainings())
    waiting = [training for training in everything if training[0] not in runs]
    with progress_bar("generalisation", len(everything), done=len(everything) - len(waiting), show=True) as bar:
        for key, task, contestant in waiting:
            outcome = train(task, task.examples(chosen.cifar), contestant, key.rate, key.seed, key.steps)
            runs.add(key, outcome)
            rate = "" if key.rate is None else f" at {key.rate:g}"
            bar.advance(f"{task.family}: {task.name} | {contestant.name}{rate} | loss {outcome.final:.3g}")
    return [
        compare(task, weights, chosen.steps(task), chosen.contestants_of(task), chosen.seeds, runs)
        for task, weights in chosen.tasks
    ]


WHAT_IS_MEANT = f"""Final losses are means of the last {WINDOW} steps, and over seeds. A network is not trained where a
seed ends above 95 % of its first loss or is not finite; a loss rose at first where one of the first 20 is above three
times the first. Steps and seconds to the final loss of swept AdamW are over AdamW's own: medians over seeds and tasks.
"""


def what_was_run(chosen: Chosen, list_name: str) -> str:
    """What the figures are of, and what was left out of the list."""
    missing = len(LISTS[list_name]) - len(chosen.tasks)
    shortened = sum(chosen.steps(task) < task.steps for task, _ in chosen.tasks)
    parts = [f"The {list_name} list, {len(chosen.tasks)} tasks, {chosen.seeds} seed(s)"]
    parts += [f"{missing} tasks left out"] if missing else []
    known = sum(task.name in chosen.rates for task, _ in chosen.tasks)
    parts += [f"the best rates of {known} tasks taken from a sweep before"] if known else []
    parts += [f"the trainings of {shortened} tasks cut to {chosen.most_steps} steps"] if shortened else []
    return ", ".join(parts) + "."


def report(results: Sequence[TaskResult], chosen: Chosen, list_name: str) -> str:
    """The tables, and what was run."""
    of_families = "Final training loss over swept AdamW's, each plus 0.1 % of the first loss: medians over tasks."
    of_profile = "On how many tasks the final training loss is within a factor of the lowest, where it was trained."
    return "\n\n".join(
        [
            what_was_run(chosen, list_name) + " " + WHAT_IS_MEANT.replace("\n", " ").strip(),
            *("## All tasks", all_tasks(results)),
            *("## By family", of_families, by_family(results)),
            *("## By task", "Final training loss / held-out loss:", by_task(results)),
            *("## Performance profile", of_profile),
        ]
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", choices=LISTS, default="judging")
    parser.add_argument("--theta", nargs="+", default=["general", "mlp"], help="files or shipped names")
    parser.add_argument("--tasks", nargs="+", default=["*"], help="names or families, * for any letters")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most-steps", type=int, help="of a training; by default a task's own")
    parser.add_argument("--most-weights", type=int, help="of a network; by default any")
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10, as data.path of data=huggingface")
    parser.add_argument("--rates-of", type=Path, help="record of a sweep before, a JSON file of this script")
    parser.add_argument("--runs", type=Path, default=Path("runs/generalisation/trainings.jsonl"))
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    if arguments.seeds < 1 or (arguments.most_steps or LEAST_STEPS) < LEAST_STEPS:
        parser.error(f"expected at least one seed, and at least {LEAST_STEPS} steps")
    return arguments


def main() -> None:
    """Measure, and write tables, picture and figures."""
    arguments = parse()
    torch.set_num_threads(1)
    chosen = choose(arguments)
    results = measure(chosen, arguments.runs)
    name = "generalisation" if arguments.list == "judging" else f"generalisation-{arguments.list}"
    with rc_context(STYLE):
        picture = draw_profile(results, name)
    content = {"command": record.command(), "machine": record.machine(), "seeds": chosen.seeds}
    write_json(arguments.results / f"{name}.json", content | {"tasks": figures(results)})
    text = report(results, chosen, arguments.list)
    record.write(name, "Optimizers on tasks that trained none of them", text, [picture], arguments.results)


if __name__ == "__main__":
    main()
