"""Files of conf/ hold what differs from what holds without them."""

from fractions import Fraction
from functools import cache

import pytest
from omegaconf import OmegaConf

from e2rnas.cli.app import CONF, composed
from pipeline.settings import Experiment

FILES = sorted(path for path in CONF.glob("*/*.yaml") if path.stem != "paper")  # whose values are pinned on purpose


def package_of(path):
    """Where the values of a file stand: dotted, with a dot at the end; "" for the root."""
    first = path.read_text().partition("\n")[0]
    if not first.startswith("# @package "):
        return f"{path.parent.name}."
    return "" if "_global_" in first else first.removeprefix("# @package ") + "."


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@cache
def defaults():
    """What holds where no file says anything."""
    return OmegaConf.create(Experiment().model_dump(mode="json"))


def without(path):
    """What is composed without a file's own values, but with the options that its list of defaults names."""
    overrides = []
    for entry in OmegaConf.load(path).get("defaults", ()) if path.parent.name == "experiment" else ():
        if isinstance(entry, str) and entry != "_self_":
            overrides.append(f"experiment={entry}")
        elif not isinstance(entry, str):
            overrides += [f"{key.removeprefix('override /')}={option}" for key, option in entry.items()]
    if path.parent.name == "experiment":
        return composed([*overrides, "data.path=given"] if "data=cifar10" in overrides else overrides)
    return defaults()


def comparable(value):
    """A plain value: numbers of a fraction, and lists that nothing changes."""
    if isinstance(value, str) and "/" in value and value[0].isdigit():
        return float(Fraction(value))
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def repeated(path):
    """Keys of a file whose value is the one that they have without it."""
    own = OmegaConf.to_container(OmegaConf.load(path), resolve=False) or {}
    own.pop("defaults", None)
    values = {package_of(path) + key: value for key, value in leaves(own)}
    before = without(path)
    found = before.copy()
    for key, value in values.items():
        OmegaConf.update(found, key, value)
    for key, value in values.items():
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(before, parent) if parent else before
        if name not in node:  # of a mapping with names of its own
            continue
        OmegaConf.update(found, key, OmegaConf.to_container(node, resolve=False)[name])
        now = comparable(OmegaConf.select(found, key))  # a value that follows another one, follows the file's
        OmegaConf.update(found, key, value)
        if now == comparable(value):
            yield key


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_a_file_repeats_no_value_that_holds_without_it(path):
    assert list(repeated(path)) == []


def test_the_one_file_that_repeats_values_says_why():
    path = CONF / "experiment" / "paper.yaml"
    assert list(repeated(path))
    comment = path.read_text().partition("\n")[2].partition("\ndefaults")[0]
    assert "Pinned" in comment
