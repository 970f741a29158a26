"""Every path, name, setting and link that the documents mention exists."""

import ast
import re
import runpy
import tomllib
import typing
from functools import cache

import pytest
import yaml
from pydantic import BaseModel

from e2rnas.cli.composing.groups import options
from pipeline.settings import Experiment
from tests.support.scripts import ROOT

IGNORED = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split("\n")}
KEPT = [path for path in ROOT.iterdir() if path.name not in IGNORED and (path.name[0] != "." or path.name == ".github")]
FILES = sorted(
    file.relative_to(ROOT).as_posix()
    for path in KEPT
    for file in (path.rglob("*") if path.is_dir() else [path])
    if file.is_file()
)
DOCUMENTS = [
    name
    for name in FILES
    if re.fullmatch(r"(docs/.*|(.*/)?README|CONTRIBUTING|\.github/.*)\.md", name) and not name.startswith("benchmarks/")
]
TOP_FOLDERS = {name.split("/")[0] for name in FILES if "/" in name}
SUFFIXES = re.compile(
    r".*\.(py|md|jsonl?|ya?ml|toml|svg|png|safetensors|txt|html|onnx|pt2|db|csv|parquet|cff|cpp|inl|h)"
)
FOR_THE_READER = {"conf/space/shallow.yaml", "space=shallow"}  # files that a document asks its reader to write

PATH = re.compile(r"(?<![\w./:=<-])((?:\.\./)*[\w.-]+(?:/[\w.*-]+)+/?)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
DOTTED = re.compile(r"(?<![\w./-])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?![\w/-])")
DEFINED_THERE = re.compile(r"([\w.-]+/[\w./-]+\.py):\s+`(\w+(?:\.\w+)*)`")
TABLE_ROW = re.compile(r"\| `(\w+(?:\.\w+)*)` \| ([\w.-]+/[\w./-]+\.py) \|")
CHOICE = re.compile(r"(?<![\w.])(\w+)=(\w+)(?![\w.:/(])")


@cache
def definitions(path):
    """Names that a file defines at its top, and Class.member of its classes."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        for name in _names(node):
            found.add(name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{name}.{member}" for part in ast.walk(node) for member in _names(part)}
    return frozenset(found)


def _names(node):
    match node:
        case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=exported)):
            return [name.value for name in exported]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            parts = [part for target in targets for part in ast.walk(target)]
            plain = [part.id for part in parts if isinstance(part, ast.Name)]
            return plain + [part.attr for part in parts if isinstance(part, ast.Attribute)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


@cache
def modules():
    """Dotted name of a module or package -> its file."""
    files = [name for name in FILES if name.endswith(".py") and not name.startswith(("tests/", "docs/", "examples/"))]
    return {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): ROOT / name for name in files}


@cache
def classes():
    """Name of a class -> names that any class of that name defines."""
    found = {}
    for path in modules().values():
        for name in definitions(path):
            owner, _, member = name.partition(".")
            if member:
                found.setdefault(owner, set()).add(member)
    return found


def missing_links(text, folder):
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):  # in code that is an index and a call
        name, _, anchor = target.partition("#")
        if not re.match(r"[a-z]+:", target):
            path = folder / name
            if not path.exists() or (anchor and anchor not in map(_anchor, path.read_text().split("\n"))):
                yield target


def _anchor(heading):
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-") if heading.startswith("#") else None


def missing_paths(text, folder):
    for name in PATH.findall(text):
        name = name.rstrip(".")
        start = folder if name.startswith("../") else ROOT
        is_ours = name.startswith("../") or name.split("/")[0] in TOP_FOLDERS
        exists = any(start.glob(name)) if "*" in name else (start / name).exists()
        if is_ours and not exists and name not in FOR_THE_READER:
            yield name


def missing_definitions(text, folder):
    for path, name in [*DEFINED_THERE.findall(text), *((path, name) for name, path in TABLE_ROW.findall(text))]:
        if not (ROOT / path).exists() or name not in definitions(ROOT / path):
            yield f"{path}: {name}"


def missing_names(text, folder):
    """Dotted names: keys of settings, modules, and members of modules and classes."""
    stems = {name.split(".")[-1]: path for name, path in modules().items()}
    for name in DOTTED.findall(text):
        first, rest = name.split(".", 1)
        if SUFFIXES.fullmatch(name):
            continue
        if first in Experiment.model_fields and _models(Experiment.model_fields[first].annotation):
            known = is_setting(Experiment, name)
        elif first in TOP_FOLDERS:
            known = name in modules() or name.rpartition(".")[2] in definitions_of(name.rpartition(".")[0])
        elif first in classes():
            known = rest.split(".")[0] in classes()[first]
        else:
            known = f"`{name}`" not in text or first not in stems or rest in definitions(stems[first])
        if not known:
            yield name


def definitions_of(module):
    return definitions(modules()[module]) if module in modules() else ()


def is_setting(model, key):
    first, _, rest = key.partition(".")
    if first not in getattr(model, "model_fields", {}):
        return False
    return not rest or any(is_setting(part, rest) for part in _models(model.model_fields[first].annotation))


def _models(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def missing_choices(text, folder):
    """group=name of a configuration that is an option of the group."""
    for group, name in CHOICE.findall(text):
        known = options(group)
        if known and name not in known and f"{group}={name}" not in FOR_THE_READER:
            yield f"{group}={name}"


CHECKS = (missing_links, missing_paths, missing_definitions, missing_names, missing_choices)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_mentions_exists(document):
    path = ROOT / document
    text = re.sub(r"```python.*?```", "", path.read_text(), flags=re.DOTALL)  # tests run what stands in these
    wrong = {check.__name__: sorted(set(check(text, path.parent))) for check in CHECKS}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        "[a file](no_such.md)",
        "[a heading](docs/how_to/sweeps.md#no-such-heading)",
        "run `python scripts/no_such.py`",
        "pipeline/no_such/",
        "conf/space/no_such*.yaml",
        "mgda/min_norm_solver.py: `no_such`",
        "| sum | `min_norm` | mgda/balancing.py |",
        "search.no_such=3",
        "search.selection.no_such",
        "mgda.no_such",
        "`CostTable.no_such`",
        "`min_norm_solver.no_such`",
        "`experiment=no_such`",
    ],
)
def test_what_does_not_exist_is_found(text):
    assert [name for check in CHECKS for name in check(text, ROOT)]


def test_the_picture_of_the_architecture_is_drawn_from_files_that_exist():
    boxes = [
        value
        for value in runpy.run_path(str(ROOT / "docs/draw_architecture.py")).values()
        if type(value).__name__ == "Box"
    ]
    drawn = (ROOT / "docs/architecture.svg").read_text()
    for box in boxes:
        assert (ROOT / box.file.replace("\n", "")).exists(), box.file
        assert all(f"<!-- {line} -->" in drawn for line in (*box.title.split("\n"), *box.file.split("\n"))), box.title
    assert len(boxes) > 10


def test_the_rooms_stand_in_the_order_that_import_linter_holds():
    rooms = re.findall(r"^\| `pipeline/(\w+)(?:/|\.py)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("containers") == ["pipeline"])
    assert contract["exhaustive"]
    assert rooms == contract["layers"]


def test_the_hooks_before_a_commit_are_the_tools_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = {hook["entry"].removesuffix(" --force-exclude") for repo in hooks for hook in repo["hooks"]}
    makefile = (ROOT / "Makefile").read_text()
    assert "\ncheck: types style\n" in makefile
    both = [makefile.partition(f"\n{name}:")[2].partition("\n\n")[0] for name in ("types", "style")]
    lines = [line.strip() for part in both for line in part.split("\n")[1:]]
    assert {line.replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in lines} == entries


def test_the_citation_names_the_version_and_license_of_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("form", [name for name in FILES if name.startswith(".github/") and name.endswith(".yml")])
def test_a_form_for_issues_has_what_github_asks_for(form):
    content = yaml.safe_load((ROOT / form).read_text())
    assert content["name"]
    assert content["description"]
    assert all({"type", "id", "attributes"} <= set(part) for part in content["body"])
