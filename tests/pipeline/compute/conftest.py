"""Runs that nothing happens to, with which tests of this folder compare theirs."""

import pytest

from tests.support.scripts import finish_script


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a stage leaves that nothing happens to, by its own run folder."""
    folders = {}

    def of(stage):
        if stage not in folders:
            folders[stage] = tmp_path_factory.mktemp("whole") / "run"
            finish_script(stage.script, *stage.overrides, f"run={folders[stage]}")  # what it caches, forks have too
        return folders[stage]

    return of
