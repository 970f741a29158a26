"""Readers meet anything: what they read is valid, or refused in one line, and nothing else comes out of them."""

import copy
import json
import pickle
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from e2rnas.cli.app import Refused, compose_experiment, validated
from pipeline.settings import Experiment
from search_space import PUBLISHED, Genotype
from search_space.cells.formats import KEYS, from_layout, from_python, to_fair_darts, to_python
from tests.support.cells.genotypes import genotypes, one_input_genotypes
from tests.support.slowly import slowly

PROPERTY = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
PLAIN = pickle.dumps(OmegaConf.create(Experiment().model_dump(mode="json")))  # copied so in an eighth of the time

words = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words | st.sampled_from(["8/255", "1/0", "1e400/1"])
values = st.recursive(leaves, lambda s: st.lists(s, max_size=4) | st.dictionaries(words, s, max_size=3), max_leaves=8)


def keys_of(model, prefix=""):
    """Every key of the settings, dotted, groups too."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        yield f"{prefix}{name}", field
        if hasattr(type(value), "model_fields"):
            yield from keys_of(value, f"{prefix}{name}.")


KEYS_OF_ALL = [key for key, _ in keys_of(Experiment())]
LEAVES = [key for key in KEYS_OF_ALL if not any(other.startswith(f"{key}.") for other in KEYS_OF_ALL)]


def outcome(read, *given):
    """What a reader gives, or its refusal; any other exception ends the test."""
    try:
        return read(*given)
    except (ValueError, Refused) as error:
        refusal = error
    assert str(refusal)
    assert "\n" not in str(refusal)
    return refusal


@settings(PROPERTY, max_examples=80)
@given(st.dictionaries(st.sampled_from(KEYS_OF_ALL), values, min_size=1, max_size=4))
def test_any_values_of_any_keys_are_an_experiment_or_a_refusal_in_one_line(changes):
    config = pickle.loads(PLAIN)  # noqa: S301
    OmegaConf.set_struct(config, False)
    for key, value in changes.items():
        try:
            OmegaConf.update(config, key, value, merge=False)
        except Exception:
            assume(False)  # a key below a value that is no group
    assert isinstance(outcome(validated, config), Experiment | Refused)


@settings(PROPERTY, max_examples=25)
@given(st.lists(st.builds("{}={}".format, st.sampled_from(KEYS_OF_ALL) | words, words | leaves), max_size=3))
def test_any_overrides_are_an_experiment_or_a_refusal_in_one_line(overrides):
    assert isinstance(outcome(compose_experiment, overrides), Experiment | Refused)


@pytest.mark.parametrize("key", LEAVES)
def test_a_wrong_type_at_any_key_is_refused_in_one_line_that_names_the_key(key):
    config = pickle.loads(PLAIN)  # noqa: S301
    OmegaConf.update(config, key, {"no": {"such": "value"}}, merge=False, force_add=True)
    found = outcome(validated, config)
    assert isinstance(found, Refused)
    assert re.search(rf"(^|, ){re.escape(key)}(\.no(\.\w+)?)?(:|, )", str(found)), found


NUMBERS = [key for key, field in keys_of(Experiment()) if field.annotation in (int, float)]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), *slowly(True, float("inf"), "many")])
def test_what_is_no_number_is_refused_where_one_is_expected(key, value):
    config = pickle.loads(PLAIN)  # noqa: S301
    OmegaConf.update(config, key, value)
    found = outcome(validated, config)
    assert isinstance(found, Refused)
    assert str(found).startswith(f"{key}: ")
    assert re.search("number|integer", str(found))
    assert f"found {value!r}" in str(found)


@settings(PROPERTY, max_examples=80)
@given(values | st.text() | st.dictionaries(st.sampled_from(["format", "version", "normal", "reduction"]), values))
def test_any_json_is_a_genotype_or_a_refusal_in_one_line(content):
    text = content if isinstance(content, str) else json.dumps(content)
    assert isinstance(outcome(Genotype.from_json, text), Genotype | ValueError)


def places(tree, path=()):
    """Every path into nested lists and objects."""
    yield path
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


@st.composite
def damaged(draw, trees):
    """A tree in which one or two parts are others, or left out."""
    tree = copy.deepcopy(draw(trees))
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from([place for place in places(tree) if place]))
        inner = tree
        for key in path:
            inner = inner[key]
        if draw(st.booleans()):
            inner[last] = draw(values | st.sampled_from(["none", "noise", 2, -1, 1e300, True]))
        else:
            del inner[last]
        assume(tree)
    return tree


@settings(PROPERTY, max_examples=100)
@given(damaged((genotypes | one_input_genotypes()).map(lambda genotype: json.loads(genotype.to_json()))))
def test_a_damaged_genotype_is_a_genotype_or_a_refusal_in_one_line(tree):
    found = outcome(Genotype.from_json, json.dumps(tree))
    assert isinstance(found, ValueError) or Genotype.from_json(found.to_json()) == found


LAYOUTS = st.sampled_from(list(PUBLISHED)).map(lambda name: to_fair_darts(PUBLISHED[name].genotype)) | st.sampled_from(
    ["DARTS_V1", "PDARTS"]
).map(lambda name: PUBLISHED[name].genotype.to_darts())


@settings(PROPERTY, max_examples=80)
@given(damaged(LAYOUTS) | st.dictionaries(st.sampled_from(KEYS), values))
def test_a_damaged_layout_is_a_genotype_or_a_refusal_in_one_line(layout):
    for read in (from_layout, Genotype.from_darts):
        assert isinstance(outcome(read, layout), Genotype | ValueError)


TEXTS = st.sampled_from([to_python(PUBLISHED["RACL"].genotype.to_darts()), "|nor_conv_3x3~0|+|none~0|skip_connect~1|"])


@st.composite
def damaged_text(draw):
    """A text with a part of it replaced by another one."""
    text = draw(TEXTS)
    first, last = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    part = draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=6) | st.sampled_from("()[]=,'#*|~+:\\"))
    return text[:first] + part + text[min(last, first + 20) :]


@settings(PROPERTY, max_examples=100)
@given(damaged_text() | st.text())
def test_any_text_is_a_genotype_or_a_refusal_in_one_line(text):
    read = outcome(from_python, text)
    assert isinstance(read, ValueError) or isinstance(read[1], Genotype)
    assert isinstance(outcome(Genotype.from_nasbench201, text), Genotype | ValueError)
