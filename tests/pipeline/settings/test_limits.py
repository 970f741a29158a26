"""Every whole number of the settings has a largest one, and what is absurd is refused in a moment."""

import time
from typing import get_args

import pytest
from annotated_types import Le
from pydantic import BaseModel

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.composing.config_errors import Refused
from pipeline.settings import Experiment


def numbers(model, prefix=""):
    """Dotted key and annotation of each setting that holds a whole number."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from numbers(annotation, f"{prefix}{name}.")
        elif annotation is int or int in plain_types(annotation):
            yield f"{prefix}{name}", [*field.metadata, *inner_metadata(annotation)]


def plain_types(annotation):
    return [part for inner in get_args(annotation) for part in (inner, *plain_types(inner))]


def inner_metadata(annotation):
    return [part for inner in plain_types(annotation) for part in getattr(inner, "metadata", ())]


KEYS = dict(numbers(Experiment))
OF_A_USERS_CODE = {"evaluate.model_arguments", "analyse.arguments"}
LISTS = {"study.budgets", "meta.population.trainers"}


def test_all_whole_numbers_are_found():
    assert {"seed", "space.nodes", "data.limit", "meta.processes", "fabric.threads", "retrain.attack.steps"} <= set(
        KEYS
    )
    assert len(KEYS) > 60


@pytest.mark.parametrize("key", sorted(set(KEYS) - OF_A_USERS_CODE))
def test_a_whole_number_has_a_largest_one(key):
    assert any(isinstance(part, Le) or getattr(part, "le", None) is not None for part in flattened(KEYS[key]))
    given = {}
    inner = given
    *groups, name = key.split(".")
    for group in groups:
        inner = inner.setdefault(group, {})
    inner[name] = [int("9" * 30)] if key in LISTS else int("9" * 30)
    with pytest.raises(ValueError, match=rf"(?s){key}.*less than or equal to"):
        Experiment.model_validate(given)


def flattened(metadata):
    for part in metadata:
        yield part
        yield from getattr(part, "metadata", ())


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            f"seed={2**64}",
            "seed: Input should be less than or equal to 9223372036854775807, found 18446744073709551616",
        ),
        ("space.nodes=5000", "space.nodes: Input should be less than or equal to 64, found 5000"),
        ("fabric.threads=100000", "fabric.threads: Input should be less than or equal to 1024, found 100000"),
        ("data.crop_padding=" + "9" * 30, "data.crop_padding: Input should be less than or equal to 8192, found 9"),
        (
            "objectives.preferences.accuracy=1e-308",
            "accuracy: Input should be greater than or equal to 0.000001, found 1e-308",
        ),
        (
            "pareto.preferences=[[1e-308,1]]",
            "pareto.preferences.0.0: Input should be greater than or equal to 0.000001",
        ),
        ("attack.eps='\u0663/\u0664'", "attack.eps: expected a number or a fraction such as 8/255, found"),
        ("attack.eps='\u0660.\u0661'", "attack.eps: Input should be a valid number"),
        ("seed='\u0663'", "seed: Input should be a valid integer"),
    ],
)
def test_a_number_out_of_range_is_refused_by_the_settings(override, says):
    with pytest.raises(Refused) as refused:
        compose_experiment([override])
    assert says in str(refused.value)


def test_twenty_thousand_equal_operations_are_refused_at_once(call_script):
    started = time.monotonic()
    status, _, err = call_script("search", "space.operations=[" + ",".join(["noise"] * 20_000) + "]")
    assert (status, err.count("\n")) == (2, 1)
    assert "expected at most 20,000 letters, found 120,0" in err
    assert len(err) < 400
    assert time.monotonic() - started < 3


def test_a_message_of_the_space_stays_a_line_that_can_be_read(call_script):
    status, _, err = call_script("search", "space.operations=[" + ",".join(["noise"] * 500) + "]")
    assert (status, err.count("\n")) == (2, 1)
    assert len(err) < 600
