"""The folder of a job of a sweep has a name that any file system takes, and no other job's."""

import itertools
import os
import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st

from e2rnas.cli.sweeps.job_names import check_names, job_name
from search_space import PUBLISHED
from tests.support.scripts import TINY


def name_of(*overrides):
    return job_name(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=1"], "seed=1"),
        (["seed=1", "attack.eps=8/255"], "attack.eps=8_255,seed=1"),
        (["objectives.parameters=[2500,4000]"], "objectives.parameters=[2500,4000]"),
        (["objectives.macs=[null,1e5]"], "objectives.macs=[null,100000.0]"),
        (["search.carry=true", "guard=skips"], "guard=skips,search.carry=true"),
        (["genotype='runs/a/genotype.json'"], "genotype=runs_a_genotype.json"),
        (["genotype='café'"], "genotype=café"),
    ],
)
def test_simple_values_stand_as_they_are(overrides, name):
    assert name_of(*overrides) == name


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("a='it is'", "a=it_is"),
        (r"a=x\,y\=z", "a=x,y_z"),
        ("a=\"b='c'\"", "a=b__c_"),
        ("a='[\x1b\n'", "a=[__"),
        ("a={b:1}", "a=_b_1_"),
        ("a=['b c']", "a=[b_c]"),
    ],
)
def test_other_values_stand_without_quotes_and_escapes_beside_a_digest(override, name):
    assert re.fullmatch(re.escape(name) + "-[0-9a-f]{8}", name_of(override))


def test_a_long_value_is_shortened_and_what_stands_beside_it_stays_readable():
    first, second = (name_of(f"genotype={'x' * 300}{end}", "seed=2") for end in "ab")
    assert first != second
    for name in (first, second):
        assert len(name) < 120
        assert name.startswith("genotype=xxx")
        assert name.endswith(",seed=2")


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=150)


@given(st.lists(TEXTS, min_size=2, max_size=4, unique=True), st.lists(TEXTS, min_size=2, max_size=4, unique=True))
def test_jobs_that_are_let_through_have_names_of_their_own_that_are_files_names(first, second):
    def quoted(text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    try:
        varied = OverridesParser.create().parse_overrides(
            [f"{key}={','.join(map(quoted, values))}" for key, values in (("a", first), ("b.c", second))]
        )
        check_names(varied)
    except (HydraException, ValueError):  # Hydra takes no such text, or two would share a folder
        return
    jobs = itertools.product(*(list(override.sweep_string_iterator()) for override in varied))
    names = [name_of(f"a={a}", f"b.c={c}") for a, c in jobs]
    assert len(set(names)) == len(first) * len(second)
    for name in names:
        assert len(os.fsencode(name)) <= 200
        assert not set("/\\'\"\n\0") & set(name)


def test_values_by_which_two_jobs_would_share_a_folder_are_refused_before_the_first(tmp_path, call_script):
    for values in ("3,3", "1,'1'"):
        status, _, err = call_script("search", "-m", *TINY, f"seed={values}", f"run={tmp_path / 'run'}")
        assert (status, err.count("\n")) == (2, 1), err
        assert "seed is varied over" in err
        assert "whose jobs would share the folder seed=" in err
    assert not (tmp_path / "run").exists()


def test_a_sweep_over_odd_names_writes_each_job_into_a_folder_without_quotes(tmp_path, monkeypatch, call_script):
    monkeypatch.chdir(tmp_path)
    names = ("it is, so=[b].json", f"{'long' * 50}.json")
    for name in names:
        (tmp_path / name).write_text(PUBLISHED["DARTS_V2"].genotype.to_json())
    quoted = ",".join(f"'{name}'" for name in names)
    status, _, err = call_script("export", "-m", f"genotype={quoted},DARTS_V2", "export.formats=[json]", "run=sweep")
    assert status == 0, err
    folders = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [folder[:25] for folder in folders] == [
        "genotype=DARTS_V2",
        "genotype=it_is,_so_[b].js",
        "genotype=longlonglonglong",
    ]
    assert all((tmp_path / "sweep" / folder / "genotype.json").exists() for folder in folders)


@pytest.mark.parametrize("name", ["multirun.yaml", "optimization_results.yaml"])
def test_a_sweep_writes_none_of_hydras_files_through_a_link(tmp_path, call_script, name):
    target, folder = tmp_path / "target", tmp_path / "run"
    target.write_text("kept")
    folder.mkdir()
    (folder / name).symlink_to(target)
    status, _, err = call_script("search", "-m", *TINY, "seed=0,1", f"run={folder}")
    assert (status, err.count("\n")) == (2, 1), err
    assert f"{folder / name} is a symbolic link; expected a file or none" in err
    assert target.read_text() == "kept"
    assert [path.name for path in folder.iterdir()] == [name]
