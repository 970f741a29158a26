"""Answer problems by ana_cont, in its own environment: a JSON line in, a JSON line out.

Started by benchmarks/continuation.py with the Python that benchmarks/make_continuation_peers.py made; it imports
nothing of this project.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ana_cont.continuation import AnalyticContinuationProblem

INTERVAL = 0.05  # seconds between errors, once the time is over
KINDS = {"fermionic_matsubara": "freq_fermionic", "bosonic_matsubara": "freq_bosonic"}


def answer(problem: dict[str, Any]) -> dict[str, Any]:
    """Continue one problem by maximum entropy with a flat default model and the true error bars."""
    started, failures = time.process_time(), []
    for settings in problem["settings"]:
        try:
            with limited_to(problem["seconds"]):
                values = solved(problem, settings)
        except Exception as error:  # whatever fails in it counts as its failure
            failures.append(f"{type(error).__name__}: {error}")
            continue
        if np.isfinite(values).all():
            return {"values": values.tolist(), "seconds": time.process_time() - started}
        failures.append("not finite")
    return {"failed": failures, "seconds": time.process_time() - started}


@contextlib.contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after processor seconds, and again and again: ana_cont goes on after an error at one alpha."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} seconds")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, INTERVAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def solved(problem: dict[str, Any], settings: dict[str, Any]) -> np.ndarray:
    """Return the spectrum, [m]."""
    omega, errors = np.array(problem["omega"]), np.array(problem["errors"])
    values = np.array(problem["real"]) + 1j * np.array(problem["imaginary"])
    if problem["kernel"] == "bosonic_matsubara":
        values = values.real
    is_positive = problem["is_positive"]
    # of weight 1; positive and negative part of an off-diagonal element have half of it each
    model = np.full(len(omega), (1.0 if is_positive else 0.5) / (omega[-1] - omega[0]))
    continuation = AnalyticContinuationProblem(
        im_axis=np.array(problem["points"]),
        re_axis=omega,
        im_data=values,
        kernel_mode=KINDS[problem["kernel"]],
        beta=problem["beta"],
    )
    found, _ = continuation.solve(
        method="maxent_svd", model=model, stdev=errors, offdiag=not is_positive, optimizer="newton", **settings
    )
    return np.asarray(found.A_opt)


def main() -> None:
    """Answer until standard input ends; what ana_cont prints, by Python or below it, is not part of the answers."""
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()):
            found = answer(json.loads(line))
        print(json.dumps(found), file=replies, flush=True)


if __name__ == "__main__":
    main()
