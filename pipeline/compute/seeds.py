"""A seed for every purpose, by which a resumed run draws the numbers of an unbroken one."""

from __future__ import annotations

import numpy as np
from lightning_fabric import seed_everything


def stream_seed(*parts: int | str) -> int:
    """A 32-bit seed for one purpose, from the run's seed and the names and numbers that tell purposes apart."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "big") for part in parts]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def seed_stream(*parts: int | str) -> None:
    """Seed all global generators for one purpose.

    Called at each epoch with its number, so that what follows does not depend on what ran before: a run that resumes
    there draws the same numbers as one that was never stopped.
    """
    seed_everything(stream_seed(*parts), verbose=False)
