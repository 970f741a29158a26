"""Examine methods of analytic continuation on spectra that are known: the design of ACT100, and families unseen.

    python benchmarks/make_continuation_peers.py                                 # once, for ana_cont; optional
    python benchmarks/continuation.py                                            # all of it
    python benchmarks/continuation.py --methods maxent ana_cont --noises 1e-4    # a part
    python benchmarks/continuation.py --every 5                                  # a fifth of the spectra of each family
    python benchmarks/continuation.py --report                                   # of what was answered so far
    python benchmarks/continuation.py --seed 1 --answers runs/continuation/development.jsonl    # to choose by

Error of an answer: integral |A - answer| / integral |A|; score: sum of max(0, 1 - error). Every method gets the true
error bars. Answers are kept in --answers, and none is computed twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import record
import torch
from continuation_exam.answers import KeptAnswers
from continuation_exam.methods import PEER, AnaCont, Method, own_methods
from continuation_exam.pictures import draw_examples, draw_scores
from continuation_exam.problems import NOISES, PARTS, SEED, Problem, problems
from continuation_exam.tables import Results, report
from continuation_exam.timing import Timing, timings
from make_continuation_peers import FOLDER
from matplotlib import rc_context

from pipeline.presentation.style import STYLE
from pipeline.runs.progress import progress_bar

NAME = "continuation"


def answer_all(methods: dict[str, tuple[str, Method]], asked: Sequence[Problem], kept: KeptAnswers) -> None:
    """Let each method answer what it has not answered yet."""
    waiting = [
        (problem, label, method)
        for label, method in methods.values()
        for problem in asked
        if (problem.name, label) not in kept
    ]
    total = len(methods) * len(asked)
    with progress_bar(NAME, total, done=total - len(waiting), show=True) as bar:
        for problem, label, method in waiting:
            found = method(problem)
            kept.add(found)
            bar.advance(f"{label} | {problem.name} | error {found.error:.3f} | {found.seconds:.2f} s")


def chosen_methods(arguments: argparse.Namespace, stack: ExitStack) -> dict[str, tuple[str, Method]]:
    """Return label and method by name, of those asked for that can be had."""
    found = {name: pair for name, pair in own_methods().items() if name in arguments.methods}
    if PEER in arguments.methods:
        if arguments.peers.exists():
            found[PEER] = (PEER, stack.enter_context(AnaCont(arguments.peers)).answer)
        else:
            print(f"{PEER} is left out: python benchmarks/make_continuation_peers.py", flush=True)
    return found


def timed(methods: dict[str, tuple[str, Method]], asked: Sequence[Problem]) -> Iterator[Timing]:
    """Time each method on the data of the last part."""
    same = [problem for problem in asked if problem.part == asked[-1].part and problem.spectrum.is_positive]
    for name, (_, method) in methods.items():
        yield timings(name, method, same)


def parse() -> argparse.Namespace:
    """Read the command line."""
    names = [*own_methods(), PEER]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--noises", nargs="+", type=float, default=list(NOISES))
    parser.add_argument("--every", type=int, default=1, help="each so many spectra of a family, one is asked")
    parser.add_argument("--report", action="store_true", help="of problems that every method answered; add no answers")
    parser.add_argument("--seed", type=int, default=SEED, help="of spectra and noise")
    parser.add_argument("--peers", type=Path, default=FOLDER / "bin" / "python", help="Python that has ana_cont")
    parser.add_argument("--answers", type=Path, default=Path("runs/continuation/answers.jsonl"))
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    if arguments.every < 1:
        parser.error(f"--every: expected 1 or more, found {arguments.every}")
    return arguments


def main() -> None:
    """Examine, and write tables and pictures."""
    arguments = parse()
    torch.set_num_threads(1)
    everything = problems(arguments.seed, tuple(arguments.parts), tuple(arguments.noises))
    asked = [problem for problem in everything if problem.spectrum.index % arguments.every == 0]
    kept = KeptAnswers(arguments.answers)
    with ExitStack() as stack:
        methods = chosen_methods(arguments, stack)
        if not arguments.report:
            answer_all(methods, asked, kept)
        labels = {name: label for name, (label, _) in methods.items()}
        asked = [one for one in asked if all((one.name, label) in kept for label in labels.values())]
        if not asked:
            raise SystemExit("no problem was answered by every method yet")
        times = list(timed(methods, asked))
    results = Results(asked, {name: [kept[one.name, label] for one in asked] for name, label in labels.items()})
    with rc_context(STYLE):
        pictures = [draw_scores(results), draw_examples(results)]
    text = report(results, times, arguments.seed)
    record.write(NAME, "Analytic continuation, examined on known spectra", text, pictures, arguments.results)


if __name__ == "__main__":
    main()
