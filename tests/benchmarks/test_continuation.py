"""The exam of benchmarks/continuation.py: its spectra and data, what is judged, and how the script goes on."""

import json
import sys
from collections import Counter
from functools import cache

import continuation
import make_continuation_peers
import numpy as np
import pytest
from continuation_exam.answers import KeptAnswers, failed, judged
from continuation_exam.peaks import held_peaks, true_positions
from continuation_exam.problems import SEED, problems, score
from continuation_exam.spectra import PEAKS
from scipy.integrate import trapezoid

from analytic_continuation import Peak


@cache
def exam():
    """The problems of one noise, made when a test asks for them."""
    return list(problems(SEED, noises=(1e-2,)))


def test_the_suite_has_the_numbers_of_act100_and_five_unseen_families():
    counts = Counter((problem.part, problem.spectrum.family) for problem in exam())
    for part in ("ACT fermionic", "ACT bosonic"):
        assert {family: counts[part, family] for family in PEAKS} == {
            "gaussians": 20,
            "narrow peaks": 20,
            "rise and decay": 10,
        }
    assert [count for (part, _), count in counts.items() if part == "unseen"] == [10] * 5
    assert len({problem.name for problem in exam()}) == 150


def test_truths_have_weight_1_and_data_are_their_transforms_within_the_error_bars():
    for problem in exam():
        assert trapezoid(np.abs(problem.truth), problem.omega) == pytest.approx(1, abs=0.05), problem.name
        assert (problem.truth >= 0).all() or not problem.spectrum.is_positive
        green = problem.green
        kernel = green.kernel.matrix(green.points, problem.omega, green.beta)
        away = np.abs(trapezoid(kernel * problem.truth, problem.omega, axis=1) - green.values)
        assert (away < 6 * green.errors + 0.01).all(), problem.name


def test_the_error_of_the_truth_is_0_and_that_of_nothing_1():
    problem = exam()[0]
    assert problem.error(problem.truth) == 0
    assert problem.error(0 * problem.truth) == 1
    assert score(np.array([0, 1, 3, np.inf])) == 1


def test_a_problem_of_a_seed_is_the_same_and_of_another_seed_another():
    again, other = next(problems(SEED)), next(problems(SEED + 1))
    assert (again.green.values == exam()[0].green.values).all()
    assert (other.truth != exam()[0].truth).any()


def test_a_band_counts_where_the_truth_is_seen(tmp_path):
    problem = exam()[0]
    band = problem.truth - 0.1, np.where(problem.omega < 0, problem.truth + 0.1, problem.truth - 0.05)
    counted = problem.truth > 0.01 * problem.truth.max()
    found = judged(problem, "ours", problem.truth, 0.1, band=band)
    assert found.covered == pytest.approx((problem.omega < 0)[counted].mean())
    kept = KeptAnswers(tmp_path / "answers.jsonl")
    kept.add(found)
    kept.add(failed(problem, "theirs", 0.2))
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"problem": "half')
    again = KeptAnswers(tmp_path / "answers.jsonl")
    assert again[problem.name, "ours"].covered == found.covered
    assert again[problem.name, "theirs"].error == np.inf


def test_the_script_writes_tables_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    peers = tmp_path / "none"
    arguments = ["--methods", "maxent", "ana_cont", "--parts", "unseen", "--noises", "1e-2", "--peers", str(peers)]
    monkeypatch.setattr(sys, "argv", ["continuation.py", *arguments, "--answers", str(tmp_path / "answers.jsonl")])
    sys.argv += ["--results", str(tmp_path / "results")]
    few = [problem for problem in exam() if problem.part == "unseen"][::10]
    monkeypatch.setattr(continuation, "problems", lambda *_: few)
    continuation.main()
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [row["problem"] for row in rows] == [problem.name for problem in few]
    text = (tmp_path / "results" / "continuation.md").read_text()
    assert "| unseen | 0.01 |" in text
    assert "The learned methods were not run." in text
    assert {path.name for path in (tmp_path / "results").iterdir()} >= {
        "continuation-scores.png",
        "continuation-examples.png",
    }
    assert "ana_cont is left out: python benchmarks/make_continuation_peers.py" in capsys.readouterr().out
    monkeypatch.setattr(continuation, "problems", lambda *_: exam()[:10] + few)
    sys.argv.append("--report")
    continuation.main()
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == len(few)
    assert f"{len(few)} problems, " in (tmp_path / "results" / "continuation.md").read_text()


def test_the_peers_environment_is_what_the_extra_lists(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(make_continuation_peers.subprocess, "run", lambda command, **_: calls.append(command))
    monkeypatch.setattr(sys, "argv", ["make_continuation_peers.py", "--folder", str(tmp_path / "peers")])
    make_continuation_peers.main()
    assert calls[0][-1] == str(tmp_path / "peers")
    assert "numpy<2.4" in calls[1]
    assert calls[2][-2:] == ["--no-build-isolation", "ana-cont>=1.1,<2"]


def test_peaks_are_held_where_their_bands_hold_a_maximum_and_its_weight():
    problem = next(one for one in exam() if one.spectrum.family == "gaussians")
    (place, *_), ends = true_positions(problem), (float(problem.omega[0]), float(problem.omega[-1]))
    good = Peak(place, (place - 0.1, place + 0.1), ends, 1.0, (0.98, 1.02))
    wrong = Peak(9.0, (8.5, 9.5), ends, 0.5, (0.4, 0.6))
    positions, weights = held_peaks(problem, [good])
    assert positions == 1
    assert np.isnan(weights)
    assert held_peaks(problem, [good, good]) == (1, 1)
    assert held_peaks(problem, [good, wrong]) == (0.5, 0.5)
    assert all(np.isnan(held_peaks(problem, [])))
