"""Changes of single leaves of a finished run's files; see finished.py for what its stages may answer."""

import json
import random
import sys
from collections import Counter
from types import MappingProxyType

from tests.support.runs.finished import ACCEPTED, in_little_time

COUNT = 100  # changes of a test, of which there are 20, 19 of them slow
TWICE = "key twice: "  # before a key that the text has twice; taken out when all is text
ABSENT = object()


def leaves(content, where=()):
    """Where every value lies, lists and objects too: the keys and indices that lead there."""
    if where:
        yield where
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, part in inner:
        yield from leaves(part, (*where, key))


CHANGES = MappingProxyType(
    {
        "removed": lambda value: ABSENT,
        "nothing": lambda value: None,
        "true": lambda value: True,
        "a word": lambda value: "x",
        "a word for a number": str,
        "no word": lambda value: "",
        "a word of control characters": lambda value: "a\x1b[2J\n\u2028b",
        "0": lambda value: 0,
        "-1": lambda value: -1,
        "10": lambda value: 10,
        "a fraction": lambda value: 0.5,
        "a whole number": lambda value: 10**15,
        "a large number": lambda value: 1e300,
        "a small number": lambda value: 5e-324,
        "a number of 5,000 digits": lambda value: 10**5000,
        "an empty list": lambda value: [],
        "an empty object": lambda value: {},
        "in a list": lambda value: [value],
        "in an object": lambda value: {"x": value},
        "ten times": lambda value: 10 * value if isinstance(value, list) else [value] * 10,
        "deep": lambda value: json.loads(200 * "[" + 200 * "]"),
        "one key more": lambda value: {**value, "unknown": 1} if isinstance(value, dict) else {"unknown": 1},
        "twice": lambda value: value,
    }
)


def changed(text, where, change, *, line):
    """The text of a file with one value changed. line: which one of a JSONL, None of a JSON."""
    sys.set_int_max_str_digits(0)
    lines = text.splitlines() if line is not None else [text]
    content = json.loads(lines[line or 0])
    holder = content
    for key in where[:-1]:
        holder = holder[key]
    key, value = where[-1], CHANGES[change](holder[where[-1]])
    if value is ABSENT:
        del holder[key]
    elif change == "twice" and isinstance(key, str):
        holder[TWICE + key] = value
    else:
        holder[key] = value
    lines[line or 0] = json.dumps(content).replace(TWICE, "")
    sys.set_int_max_str_digits(4300)
    return "\n".join(lines) + "\n"


def changes_of(run, count, seed):
    """`count` changes (file, line, where, change), of each file a part that grows with the root of its values."""
    generator, all_values = random.Random(seed), {}  # noqa: S311 - no secret
    for name in run.names():
        lines = run.text(name).splitlines() if name.endswith("l") else [run.text(name)]
        values = [
            (i if name.endswith("l") else None, where)
            for i, text in enumerate(lines)
            for where in leaves(json.loads(text))
        ]
        all_values[name] = values
    weights = {name: SHARES.get(name, 1) * len(values) ** 0.5 for name, values in all_values.items()}
    names = generator.choices(list(weights), list(weights.values()), k=count)
    for name in names:
        line, where = generator.choice(all_values[name])
        yield name, line, where, generator.choice(list(CHANGES))


SHARES = MappingProxyType(
    {
        "settings.json": 0.3,
        "robustness.json": 0.7,
        "transfer.json": 0.5,
        "pool.json": 0.05,
        "selection/000/network.json": 0.05,
        "selection/000/metrics.jsonl": 0.05,
    }
)


def check_changes(run, seed):
    """Make COUNT changes, each by itself. Raises AssertionError that lists those that no stage may answer so."""
    wrong, outcomes = [], Counter()
    with in_little_time(run):
        for name, line, where, change in changes_of(run, COUNT, seed):
            try:
                found = run.outcomes(name, changed(run.text(name), where, change, line=line).encode())
                outcomes.update(line == ACCEPTED for line in found.values())
            except AssertionError as error:
                wrong.append(f"{name} {line or ''} {'.'.join(map(str, where))} {change}: {error}")
                run.restore()
    assert not wrong, "\n".join([f"{len(wrong)} of {COUNT}:", *wrong])
    assert min(outcomes[True], outcomes[False]) > COUNT / 4
