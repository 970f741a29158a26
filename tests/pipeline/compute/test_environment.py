"""What results say of where they were computed."""

import subprocess
from datetime import UTC, datetime

import pytest

from pipeline.compute import environment


@pytest.fixture(autouse=True)
def anew():
    """Let the commit be looked up again."""
    environment.commit.cache_clear()
    yield
    environment.commit.cache_clear()


def git(folder, *command):
    named = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", *named, *command], cwd=folder, check=True, capture_output=True)


def test_a_checkout_names_its_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert environment.commit() == head.stdout[:12]
    assert environment.environment()["commit"] == head.stdout[:12]
    (tmp_path / "file").write_text("two")
    environment.commit.cache_clear()
    assert environment.commit() == f"{head.stdout[:12]}-dirty"


def test_outside_of_a_checkout_there_is_no_commit_and_still_a_date(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    found = environment.environment()
    assert "commit" not in found
    assert datetime.fromisoformat(found["date"]).date() <= datetime.now(UTC).date()
