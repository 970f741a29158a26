"""The order of the files of tests, by which several workers of pytest end together."""

from tests.support.scripts import ROOT

LONGEST = (
    "tests/pipeline/studies/pareto/test_pareto.py",
    "tests/e2rnas/test_python_api.py",
    "tests/e2rnas/cli/test_sweeps.py",
    "tests/pipeline/studies/comparison/test_comparison.py",
    "tests/pipeline/compute/test_processes.py",
    "tests/pipeline/evaluation/test_probing.py",
    "tests/pipeline/compute/test_workers.py",
    "tests/pipeline/compute/test_device_law.py",
    "tests/scripts/test_stages.py",
    "tests/pipeline/export/test_export.py",
    "tests/attacks/test_attacks_suite.py",
    "tests/pipeline/compute/test_shared_evaluation.py",
    "tests/pipeline/studies/study/supernets/test_supernet_study.py",
    "tests/pipeline/evaluation/test_evaluation.py",
    "tests/pipeline/search/selection/test_pool.py",
    "tests/benchmarks/test_cuda.py",
    "tests/pipeline/compute/test_stopping.py",
    "tests/pipeline/report/test_repeating.py",
)
"""Files whose tests take ten seconds or more, the longest first: begun last, one would keep one processor alone."""


def longest_first(items):
    """Put the tests of those files before all others; within a file the order stays."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
