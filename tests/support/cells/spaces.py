"""The search spaces of conf/ and that of the documentation, built."""

import re

import yaml

from pipeline.settings import SpaceSettings
from tests.support.scripts import ROOT

NAMES = ("darts", "s1", "s2", "s3", "s4", "nasbench201")


DOCUMENT = (ROOT / "docs/how_to/search_spaces.md").read_text()


def block(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return code


def space_of(name):
    text = block("yaml") if name == "documented" else (ROOT / f"conf/space/{name}.yaml").read_text()
    content = yaml.safe_load(text) or {}
    return SpaceSettings.model_validate(content.get("space", content)).build()


SPACES = {name: space_of(name) for name in (*NAMES, "documented")}
