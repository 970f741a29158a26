"""Files of a finished run are damaged in one known way, and every stage that reads them says so in one line."""

import json
import struct

import pytest

from tests.support.runs.finished import ACCEPTED, OLDER, READ_BY, finished, in_little_time  # noqa: F401 - a fixture

MARK = b"\xef\xbb\xbf"
JSON_FILES = [name for name in READ_BY if name.endswith(".json")]
TEXTS = [name for name in READ_BY if name.endswith((".json", ".jsonl"))]
TENSORS = [name for name in READ_BY if name.endswith(".safetensors")]
VERSIONED = ("genotype.json", "network.json", "robustness.json", "transfer.json", "settings.json")


@pytest.fixture(scope="module")
def outcomes(finished):  # noqa: F811
    """What each stage that reads a file in full does when it holds this content."""

    def found(name, content):
        return {stage: line for stage, line in finished.outcomes(name, content).items() if stage != OLDER}

    with in_little_time(finished):
        yield found


def first_line(text, value):
    """The lines of a log, the first of which has a step of another value."""
    first, rest = text.split("\n", 1)
    return json.dumps(json.loads(first) | {"step": 0}).replace('"step": 0', f'"step": {value}') + "\n" + rest


def of_json(change):
    def damage(text):
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return damage


DAMAGES = {
    "a step that is a word": ("metrics.jsonl", lambda text: first_line(text, '"x"'), "line 1: step: Input should be"),
    "a step of 5,000 digits": (
        "metrics.jsonl",
        lambda text: first_line(text, "1" + 4999 * "0"),
        "line 1: a whole number has 5,000 digits; at most 20 are read",
    ),
    "a training without held_back": (
        "network.json",
        of_json(lambda content: content["training"].pop("held_back")),
        "training: held_back: Field required",
    ),
    "an unknown recipe": (
        "network.json",
        of_json(lambda content: content["training"]["settings"]["retrain"].update(recipe="alchemy")),
        "recipe: expected one of standard, ",
    ),
    "fewer than no nodes": (
        "search.json",
        of_json(lambda content: content["settings"]["space"].update(nodes=-1)),
        "space.nodes: Input should be greater than 0, found -1",
    ),
    "more nodes than the alphas have": (
        "search.json",
        of_json(lambda content: content["settings"]["space"].update(nodes=10)),
        None,
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_every_stage_says_what_is_damaged_in_a_file_that_it_reads(finished, outcomes, what):  # noqa: F811
    name, damage, says = DAMAGES[what]
    for stage, line in outcomes(name, damage(finished.text(name)).encode()).items():
        assert line != ACCEPTED, stage
        assert says is None or says in line, f"{stage}: {line}"


@pytest.mark.parametrize("name", TEXTS)
def test_every_stage_reads_over_a_byte_order_mark(finished, outcomes, name):  # noqa: F811
    assert set(outcomes(name, MARK + finished.text(name).encode()).values()) == {ACCEPTED}


@pytest.mark.parametrize("name", JSON_FILES)
def test_no_stage_reads_a_file_with_an_unknown_key_or_with_a_key_twice(finished, outcomes, name):  # noqa: F811
    text = finished.text(name)
    key = next(iter(json.loads(text)))
    for first in ('"unknown": 1', f'"{key}": 1'):
        lines = outcomes(name, text.replace("{", f"{{{first}, ", 1).encode())
        assert ACCEPTED not in lines.values(), lines
        assert all((key if key in first else "unknown") in line for line in lines.values()), lines


@pytest.mark.parametrize("name", VERSIONED)
def test_no_stage_takes_true_for_the_number_of_a_version(finished, outcomes, name):  # noqa: F811
    content = json.loads(finished.text(name))
    assert not isinstance(content["version"], bool)
    lines = outcomes(name, json.dumps(content | {"version": True}).encode())
    assert all("version" in line for line in lines.values()), lines


@pytest.mark.parametrize("name", TENSORS)
def test_no_stage_reads_tensors_of_a_type_without_arithmetic(outcomes, name):
    size = 100_000  # bytes, as many as any of these files needs
    header = json.dumps({"a": {"dtype": "F4", "shape": [2 * size], "data_offsets": [0, size]}}).encode()
    lines = outcomes(name, struct.pack("<Q", len(header)) + header + bytes(size))
    assert all("'a' has the type 'F4'" in line for line in lines.values()), lines
