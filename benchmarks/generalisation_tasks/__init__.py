"""Tasks that judge optimizers on what trained none of them: networks, examples, and the lists of both."""

from generalisation_tasks.lists import DEVELOPMENT, JUDGING, LISTS
from generalisation_tasks.task import BenchmarkTask

__all__ = ["DEVELOPMENT", "JUDGING", "LISTS", "BenchmarkTask"]
