"""The methods of the exam: those of analytic_continuation, and ana_cont in a process of its own environment."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

import analytic_continuation
from analytic_continuation import METHODS, continue_spectrum
from continuation_exam.answers import Answer, failed, judged
from continuation_exam.problems import Problem

WORKER = Path(__file__).with_name("ana_cont_worker.py")
PEER = "ana_cont"
ANA_CONT: Sequence[Mapping[str, Any]] = (
    {"alpha_determination": "chi2kink", "alpha_start": 1e14, "alpha_end": 1e-2},
    {"alpha_determination": "chi2kink", "alpha_start": 1e14, "alpha_end": 1e2, "fit_position": 2.0},
)
"""Settings of ana_cont; where it fails or overflows with the first, as for narrow peaks, the second are tried."""

PEER_SECONDS = 3.0  # of one core, with each settings; it mostly takes 0.1 to 1.5, and minutes where it diverges

Method = Callable[[Problem], Answer]


def own_methods() -> dict[str, tuple[str, Method]]:
    """Return label and method of analytic_continuation's, by name; labels of learned ones name the shipped models."""
    models = _fingerprint()
    labels = {name: f"{name} {models}" if models and name != "maxent" else name for name in METHODS}
    return {name: (label, _own(name, label)) for name, label in labels.items()}


def _fingerprint() -> str:
    """Return eight letters that tell the shipped models from others, or "" where there are none."""
    folder = Path(str(analytic_continuation.__file__)).parent
    files = sorted(folder.rglob("*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8] if files else ""


def _own(name: str, label: str) -> Method:
    def answer(problem: Problem) -> Answer:
        started = time.process_time()
        try:
            spectrum = continue_spectrum(
                problem.green, problem.omega, name, norm=problem.norm, positive=problem.spectrum.is_positive
            )
        except ValueError:
            return failed(problem, label, time.process_time() - started)
        seconds = time.process_time() - started
        band = None
        if spectrum.lower is not None and spectrum.upper is not None:
            band = spectrum.lower, spectrum.upper
        chi_squared = spectrum.chi_squared_per_point
        return judged(
            problem, label, spectrum.values, seconds, band=band, chi_squared=chi_squared, peaks=spectrum.peaks
        )

    return answer


class AnaCont(AbstractContextManager["AnaCont"]):
    """ana_cont in the environment that benchmarks/make_continuation_peers.py made, with the true error bars."""

    def __init__(self, python: Path) -> None:
        command = [str(python), "-W", "ignore", str(WORKER)]
        self._process = subprocess.Popen(  # noqa: S603 - the file beside this one
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def answer(self, problem: Problem) -> Answer:
        """Let it continue a problem."""
        green = problem.green
        content = {
            "kernel": str(green.kernel),
            "beta": green.beta,
            "points": green.points.tolist(),
            "real": green.values.real.tolist(),
            "imaginary": green.values.imag.tolist(),
            "errors": green.errors.tolist(),
            "omega": problem.omega.tolist(),
            "is_positive": problem.spectrum.is_positive,
            "seconds": PEER_SECONDS,
            "settings": [dict(each) for each in ANA_CONT],
        }
        line = self._reply(json.dumps(content))
        if not line:
            raise SystemExit("ana_cont ended without an answer; is its environment whole (make_continuation_peers.py)?")
        found = json.loads(line)
        values = np.array(found.get("values", []))
        if len(values) != len(problem.omega) or not np.isfinite(values).all():
            return failed(problem, PEER, found["seconds"])
        return judged(problem, PEER, values, found["seconds"])

    def _reply(self, line: str) -> str:
        request, replies = self._process.stdin, self._process.stdout
        if request is None or replies is None:
            raise RuntimeError("the process was started without pipes")
        print(line, file=request, flush=True)
        return replies.readline()
