"""The search spaces of conf/ and that of the documentation, built."""

import re

import yaml

from e2rnas.cli.app import compose_experiment
from pipeline.settings import SpaceSettings
from tests.support.scripts import ROOT

NAMES = ("darts", "s1", "s2", "s3", "s4", "nasbench201")


DOCUMENT = (ROOT / "docs/search_spaces.md").read_text()


def block(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return code


def space_of(name):
    if name == "documented":
        return SpaceSettings.model_validate(yaml.safe_load(block("yaml"))).build()
    return compose_experiment([f"space={name}"]).space.build()


SPACES = {name: space_of(name) for name in (*NAMES, "documented")}
