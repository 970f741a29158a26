"""What the report's page says, before it is laid out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pipeline.evaluation.accuracy import CLEAN, Accuracy, interval_in_words, strongest
from pipeline.evaluation.gradient_masking import remarks
from pipeline.meta_training.population_words import population_lead, population_tiles
from pipeline.networks.description import NetworkDescription
from pipeline.presentation.words import bound_in_words, counted, magnitude, named, percent, recipe_in_words, shown
from pipeline.report.protocols import protocol_rows, remarks_on_weights
from pipeline.report.reproduction import differences, origins, stages
from pipeline.report.run_reader import Plain, RunContents, Runs, attacks_of
from pipeline.report.sweeps.group_table import group_rows
from pipeline.report.sweeps.seed_groups import groups
from pipeline.runs.stored_settings import StageSettings, settings_of_stage
from pipeline.studies.pareto.front import Front, asked_in_words, reference_in_words

UNFOLDED_CLASSES = 12  # a table of more classes is folded
OVERFITTING = 0.03  # of held-back accuracy, lost since the best epoch, from which on it is called overfitting


def content(runs: Runs) -> Plain:
    """Return the template's values by name; pictures are not among them."""
    label, run = next(iter(runs.items()))
    return {
        "label": label,
        "run": run,
        "runs": runs,
        "title": title_of(label, run),
        "lead": list(_lead(run)),
        "made": _made(run),
        "tiles": list(_tiles(run)),
        "bounds": list(_bounds(run)),
        "notes": list(_notes(runs)),
        "attacks": attacks_of(runs),
        "results": list(_results(runs)),
        "comparisons": list(_comparisons(runs)),
        "differences": differences(runs),
        "attack_rows": list(_attack_rows(run.accuracies)),
        "protocols": protocol_rows(run) if len(run.evaluations) > 1 else [],
        "protocol_attacks": list(dict.fromkeys(row.attack for each in run.evaluations for row in each.attacks)),
        "attack_rows_of": lambda accuracies: list(_attack_rows(accuracies)),
        "pareto": _pareto(run.pareto) if run.pareto else None,
        "classes": _classes(run),
        "has_detail": bool(run.examples or run.transfers or run.measured.in_detail),
        "groups": _seed_groups(runs),
        "stages": list(stages(run, list(runs.values())[1:])),
        "origins": origins(run),
        "settings_json": json.dumps(run.settings, indent=1, ensure_ascii=False),
        "genotype_json": run.genotype.to_json() if run.genotype else "",
    }


def title_of(label: str, run: RunContents) -> str:
    """Return what the run is, such as "E2RNAS cell on digits, seed 0"; its label where that is not known."""
    stage = "retrain" if run.network else "search"
    if stage not in run.settings or run.genotype is None:
        return label
    data = run.network.data if run.network else settings_of_stage(run.settings[stage]).data.set_name
    what = "E2RNAS cell" if run.search else f"{run.name} cell"
    return f"{what} on {data}, seed {run.settings[stage]['seed']}"


def _made(run: RunContents) -> str:
    """Return with what the run was made and when, and how long each stage took."""
    stages = run.environments
    times = [f"{stage} took {each['seconds']:,.0f} s" for stage, each in stages.items() if "seconds" in each]
    names = [(name, each[name]) for each in stages.values() for name in ("e2rnas", "commit", "torch") if name in each]
    made_with = ", ".join(f"{name} {of}" for name, of in dict.fromkeys(names))
    dates = [each["date"] for each in stages.values() if "date" in each]
    return "; ".join(filter(None, [max(dates, default=""), ", ".join(times), made_with]))


def _lead(run: RunContents) -> Iterator[str]:
    """Yield what was done, a sentence a stage."""
    if run.search:
        yield _search_sentence(run.search.asked)
    if run.network:
        yield _training_sentence(run.network)
    if run.robustness:
        settings = run.robustness.settings.evaluate
        what = "a pixel" if settings.norm == "Linf" else f"an image, in {settings.norm},"
        eps, images = shown("eps", settings.eps), counted(run.accuracies[0].images, "test image")
        yield f"Measured on {images}; attacks may change {what} by ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{eps}."
    if run.lineage:
        yield population_lead(run.lineage, run.theta)


def _search_sentence(asked: StageSettings) -> str:
    objectives = ", ".join(named(name) for name in asked.objectives.names)
    return f"Searched on {asked.data.set_name} for {counted(asked.search.epochs, 'epoch')}, balancing {objectives}."


def _training_sentence(network: NetworkDescription) -> str:
    recipe = settings_of_stage(network.training["settings"]).retrain
    return (
        f"Trained from scratch on {network.data} {recipe_in_words(recipe.model_dump())} for "
        f"{counted(recipe.epochs, 'epoch')}, "
        f"with {network.channels} channels and {network.layers} cells."
    )


def _tiles(run: RunContents) -> Iterator[tuple[str, str, str]]:
    """Yield the figures that matter: what, how much, and what to hold beside it."""
    if run.accuracies:
        attack = strongest({run.name: run.accuracies})
        for name in dict.fromkeys((CLEAN, attack)):
            result = next(result for result in run.accuracies if result.attack == name)
            title = "clean accuracy" if name == CLEAN else f"accuracy under {name}"
            yield title, percent(result.accuracy), f"{interval_in_words(result)}, 95 % interval"
    elif run.network:
        held_back = run.network.training["held_back_accuracy"]
        yield "held-back accuracy", percent(held_back), "of the training set; not evaluated yet"
    if run.cost:
        where = "in the network" if run.network or run.robustness else "in the derived network"
        yield "parameters", magnitude(run.cost["parameters"]), f"exactly {run.cost['parameters']:,} {where}"
        thop = magnitude(run.cost["thop_macs"]) if "thop_macs" in run.cost else "not counted"
        yield "MACs an image", magnitude(run.cost["conv_linear_macs"]), f"convolutions and classifier; thop {thop}"
    elif run.robustness:
        yield "size", "not counted", "of a module whose operators or weights the counters do not see"
    if run.lineage:
        yield from population_tiles(run.lineage)


def _bounds(run: RunContents) -> Iterator[Plain]:
    for name, bound in run.search.bounds.items() if run.search else ():
        yield {
            "name": named(name),
            "value": f"{bound.value:,}",
            "asked": bound_in_words((bound.lower, bound.upper)),
            "kept": bound.violation == 0,
        }


def _notes(runs: Runs) -> Iterator[str]:
    """Yield what a reader must know before believing a figure."""
    run = next(iter(runs.values()))
    if run.search_rows and not run.search:
        yield "The search is not finished: its curves are what there is so far."
    if run.retrain_rows and not run.network:
        yield "Training is not finished: its curves are what there is so far."
    if run.search and run.network and run.search.derived_cost.parameters != run.network.cost()["parameters"]:
        yield (
            f"The bounds were set for the derived network of {run.search.derived_cost.parameters:,} parameters; "
            f"the trained one has another shape and {run.network.cost()['parameters']:,}."
        )
    for event in run.search.guard if run.search else ():
        yield (
            f"After epoch {event.after} the guard found a collapse: the alphas went back to those of epoch "
            f"{event.back_to}."
        )
    verdict = run.measured.verdict
    if verdict and not verdict.believed:
        yield f"{verdict.verdict[0].upper()}{verdict.verdict[1:]}."
    for remark in remarks(run.accuracies):
        yield f"{remark[0].upper()}{remark[1:]}."
    for label, other in runs.items():
        yield from _overfitting(label, other)
        yield from (f"{label}: {remark}" for remark in remarks_on_weights(other))
        if not (other.accuracies or other.set_aside) and len(runs) > 1:
            yield f"{label} has no robustness.json and is missing from the results; run evaluate.py on it."
    unlike = [row["key"] for row in differences(runs) if row["stage"] == "evaluate"] + list(_attacks_that_differ(runs))
    if unlike:
        yield f"The runs were not evaluated alike, which may be why accuracies differ: see {', '.join(unlike)}."


def _overfitting(label: str, run: RunContents) -> Iterator[str]:
    """Training that lost what it had in its best epoch (robust overfitting, Rice et al. 2020), or resists little."""
    if not run.network:
        return
    training = run.network.training
    if training["held_back"]["gap"] >= OVERFITTING:
        best, last = training["held_back"]["best"], training["held_back"]["last"]
        yield (
            f"{label} overfits: accuracy on the held-back images fell from {percent(best['accuracy'])} in epoch "
            f"{best['epoch']}, whose weights were kept, to {percent(last['accuracy'])} in epoch {last['epoch']}."
        )
    if training.get("overfitted_in_epoch") is not None:
        yield (
            f"{label} overfits catastrophically in epoch {training['overfitted_in_epoch']}: from there on it resists "
            "the attack that it is trained with, and not PGD (Wong et al. 2020)."
        )


def _results(runs: Runs) -> Iterator[Plain]:
    """A row a measured run; accuracies in the order of _attacks, None where one was not met."""
    for label, run in runs.items():
        if run.accuracies:
            found = {result.attack: result for result in run.accuracies}
            yield {
                "label": label,
                "run": run,
                "cost": run.cost,
                "accuracies": [found.get(attack) for attack in attacks_of(runs)],
                "images": run.accuracies[0].images,
            }


def _comparisons(runs: Runs) -> Iterator[str]:
    """Compare the first run with each other one, under the strongest attack that they share."""
    (label, run), *others = runs.items()
    for other_label, other in others if run.accuracies else ():
        if not other.accuracies:
            continue
        attack = strongest({label: run.accuracies, other_label: other.accuracies})
        mine, theirs = (next(r for r in each.accuracies if r.attack == attack) for each in (run, other))
        overlap = mine.low <= theirs.high and theirs.low <= mine.high
        how = "clean" if attack == CLEAN else f"under {attack}"
        yield (
            f"{label} against {other_label}, {how}: {100 * (mine.accuracy - theirs.accuracy):+.1f} points; "
            "the intervals "
            + ("overlap, so these images alone do not settle which is better." if overlap else "do not overlap.")
        )


def _seed_groups(runs: Runs) -> list[Plain]:
    """Return the rows of groups of runs, where there are several of a seed."""
    found = groups(runs)
    return group_rows(found, attacks_of(runs)) if any(len(group.runs) > 1 for group in found) else []


def _attacks_that_differ(runs: Runs) -> Iterator[str]:
    """Attacks of the same name that were run with other settings."""
    for attack in attacks_of(runs):
        found = [result.settings for run in runs.values() for result in run.accuracies if result.attack == attack]
        if any(settings != found[0] for settings in found):
            yield f"the settings of {attack}"


def _attack_rows(accuracies: Sequence[Accuracy]) -> Iterator[Plain]:
    """Yield settings and effort of each attack."""
    for result in accuracies:
        parts = [_call(part) for part in result.settings.get("attacks", ())]
        ball = {
            key: result.settings[key]
            for key in ("norm", "eps", "restarts", "seed", "version")
            if key in result.settings
        }
        yield {
            "result": result,
            "ball": ", ".join(f"{key} {shown(key, value)}" for key, value in ball.items()),
            "parts": list(dict.fromkeys(parts)),
        }


def _call(part: Plain) -> str:
    arguments = ", ".join(f"{key}={shown(key, value)}" for key, value in part["arguments"].items())
    return f"{part['class']}({arguments})"


def _classes(run: RunContents) -> Plain | None:
    """Accuracy of each class, clean and under each attack that counted it, and the class that suffers most."""
    names, images = run.measured.class_names, run.measured.class_images
    counted_in = [result for result in run.accuracies if len(result.right_by_class) == len(names) > 0]
    if not counted_in:
        return None
    parts = [[result.share_of_class(c, n) for c, n in enumerate(images)] for result in counted_in]
    worst = min(range(len(names)), key=lambda index: parts[-1][index])
    return {
        "attacks": [result.attack for result in counted_in],
        "rows": [(name, images[i], [part[i] for part in parts]) for i, name in enumerate(names)],
        "worst": f"{names[worst]}: {percent(parts[-1][worst])} under {counted_in[-1].attack}",
        "folded": len(names) > UNFOLDED_CLASSES,
    }


def _pareto(front: Front) -> Plain:
    """Return the points of a walk, the published cells beside them, and what is to be said of them."""
    sentences = [
        "No other point is at least as good in both accuracies and both sizes, and better in one, as a point on the "
        f"front. The front dominates {front.hypervolume:.3f} of the box between the best, accuracies of 1 and sizes of "
        f"0, and the reference: {reference_in_words(front)}."
    ]
    if front.agreement is not None:
        sentences.append(
            f"Robust accuracy in the supernet and after retraining agree in rank by Kendall's tau "
            f"{front.agreement:.2f}."
        )
    return {"front": front, "sentences": sentences, "asked": asked_in_words}
