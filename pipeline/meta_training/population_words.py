"""What a report says of a population that trained itself."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.presentation.words import counted, printable
from pipeline.runs.stored_stages import LineageFile, ThetaFile


def population_lead(lineage: LineageFile, theta: ThetaFile | None) -> str:
    """Return what was done, in a sentence. theta: the card of the optimizer that was kept."""
    count, steps = len(lineage.judgements[0].members), lineage.judgements[-1].step
    kind = f" of {theta.architecture}" if theta else ""
    return (
        f"A population of {count} learned optimizers{kind} trained itself from random meta-parameters for "
        f"{counted(steps, 'outer step')}; no hand-designed optimizer took part."
    )


def population_tiles(lineage: LineageFile) -> Iterator[tuple[str, str, str]]:
    """Yield the figures that matter: what, how much, and what to hold beside it."""
    scores = {judged.step: [each.score for each in judged.members] for judged in lineage.judgements}
    best = {step: min(known) for step, found in scores.items() if (known := [s for s in found if s is not None])}
    step = min(best, key=best.__getitem__)
    first = next(iter(best.values()))
    yield "normalised loss", f"{best[step]:.3g}", f"after outer step {step}; best random one {first:.3g}"
    copies = sum(each.parent != n for judged in lineage.judgements for n, each in enumerate(judged.members))
    generation = max(each.generation for each in lineage.judgements[-1].members)
    yield "copies", str(copies), f"by the end, up to {counted(generation, 'generation')} after one another"


def population_in_words(label: str, lineage: LineageFile) -> str:
    """Return the same figures in a line."""
    figures = "; ".join(f"{name} {value} ({beside})" for name, value, beside in population_tiles(lineage))
    return f"{printable(label)}: {figures}"
