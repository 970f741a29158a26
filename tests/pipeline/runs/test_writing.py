"""What is written stays inside the run folder, and what is removed there is what this program left unfinished."""

import os
import signal
import subprocess
import sys
import time

import pytest

from atomic_files import MARK, write_atomically
from pipeline.errors import RunError
from pipeline.report.figures import Picture
from pipeline.report.html import write_page
from pipeline.runs.metrics import MetricLog
from pipeline.runs.run_folder import FOLDERS, check_folders, exclusive
from tests.support.scripts import ROOT, TINY

WRITE_FOR_EVER = """
import os, sys, time
from pathlib import Path
from atomic_files import write_atomically
os.fsync = lambda descriptor: time.sleep(60)
write_atomically(Path(sys.argv[1]), "half")
"""


@pytest.fixture
def writer():
    """Start a process that stays in the middle of writing a file; returns it and the unfinished file."""
    started = []

    def start(path):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)], env=environment)
        started.append(process)
        while not (found := list(path.parent.glob(f".{path.name}.*"))):
            assert process.poll() is None
            time.sleep(0.005)
        return process, found[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_what_a_killed_process_left_unfinished_is_removed_by_the_next_stage_and_nothing_else(tmp_path, writer):
    left = [writer(tmp_path / place) for place in ("file.json", "checkpoint/file.ckpt", "figures/file.png")]
    other, (living, unfinished) = writer(tmp_path / "other" / "file"), writer(tmp_path / "living.json")
    for process, _ in (*left, other):
        process.send_signal(signal.SIGKILL)
        process.wait()
    with exclusive(tmp_path, "search"):
        assert [path.exists() for _, path in left] == [False] * 3
        assert other[1].exists()  # another run's
        assert living.poll() is None
        assert unfinished.exists()


def test_files_of_other_programs_are_left_alone_whatever_they_are_called(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("kept")
    names = (".x.tmp", ".file.1.tmp", ".bashrc.tmp", f".x{MARK}", f".x.0123456{MARK}", f"x.01234567{MARK}")
    for name in names:
        (tmp_path / name).write_text("kept")
    (tmp_path / f".folder.01234567{MARK}").mkdir()
    (tmp_path / f".link.01234567{MARK}").symlink_to(mine)
    (tmp_path / f".dangling.01234567{MARK}").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / f".pipe.01234567{MARK}")
    (tmp_path / ".folder.tmp").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with exclusive(tmp_path, "search"):
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, ".lock"])
    assert all((tmp_path / name).read_text() == "kept" for name in (*names, "mine"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_unfinished_file_of_another_user_stays(tmp_path):
    theirs = tmp_path / f".file.01234567{MARK}"
    theirs.touch()
    os.chown(theirs, 12345, -1)
    with exclusive(tmp_path, "search"):
        assert theirs.exists()


def test_writing_replaces_a_link_and_leaves_what_it_points_to(tmp_path):
    target, link = tmp_path / "target", tmp_path / "run" / "genotype.json"
    target.write_text("kept")
    link.parent.mkdir()
    link.symlink_to(target)
    write_atomically(link, "new")
    assert (link.read_text(), link.is_symlink(), target.read_text()) == ("new", False, "kept")


def test_a_lock_or_log_that_is_a_link_leaves_its_target_as_it_is(tmp_path):
    target, folder = tmp_path / "target", tmp_path / "run"
    target.write_text("kept")
    folder.mkdir()
    (folder / ".lock").symlink_to(target)
    with pytest.raises(ValueError, match=r"\.lock is a symbolic link; expected a regular file or none"):
        exclusive(folder, "search").__enter__()
    (folder / "metrics.jsonl").symlink_to(target)
    target.write_text("")
    with MetricLog(folder, "search", first_step=0) as log:
        log.write(0, {"loss": 1.0})
    assert target.read_text() == ""
    assert not (folder / "metrics.jsonl").is_symlink()


def test_a_lock_that_holds_something_keeps_it(tmp_path):
    (tmp_path / ".lock").write_text("kept")
    with exclusive(tmp_path, "search"):
        assert (tmp_path / ".lock").read_text() == "kept"


def a_link(path):
    path.symlink_to(path.parent.parent / "elsewhere")


PLACES = {"a symbolic link": a_link, "a FIFO": os.mkfifo, "a folder": lambda path: path.mkdir()}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("stage", ["search", "retrain", "meta_train"])
def test_what_is_no_lock_is_refused_at_once(tmp_path, call_script, kind, stage):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("kept")
    PLACES[kind](folder / ".lock")
    before = sorted(tmp_path.rglob("*"))
    status, _, err = call_script(stage, *TINY, "genotype=DARTS_V2", f"run={folder}")
    assert (status, err.count("\n")) == (2, 1), err
    assert f"{folder / '.lock'} is {kind}; expected a regular file or none" in err
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "elsewhere").read_text() == "kept"


@pytest.mark.parametrize("name", [*FOLDERS, "tensorboard/search"])
@pytest.mark.parametrize("kind", ["a symbolic link", "a FIFO", "a file"])
def test_no_folder_that_leads_out_of_the_run_is_written_in(tmp_path, name, kind):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = folder / name
    path.parent.mkdir(parents=True)
    {"a symbolic link": lambda: path.symlink_to(elsewhere), "a file": path.touch, "a FIFO": lambda: os.mkfifo(path)}[
        kind
    ]()
    with pytest.raises(RunError, match=f"{name} is {kind}; expected a folder or none"), exclusive(folder, "search"):
        pass
    assert not (folder / ".lock").exists()
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(RunError, match=f"{name} is a symbolic link"):
        check_folders(folder, "tensorboard/search")


def test_a_run_folder_may_itself_be_a_link(tmp_path, call_script):
    scratch, link = tmp_path / "scratch", tmp_path / "run"
    scratch.mkdir()
    link.symlink_to(scratch)
    status, _, err = call_script("search", *TINY, "search.epochs=1", f"run={link}")
    assert status == 0, err
    assert (scratch / "genotype.json").exists()


def test_a_page_writes_no_picture_through_a_link(tmp_path):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "figures").symlink_to(elsewhere)
    with pytest.raises(RunError, match="figures is a symbolic link"):
        write_page(folder, "", [Picture("bars", "", "", "", b"", 1.0)])
    assert (list(elsewhere.iterdir()), [path.name for path in folder.iterdir()]) == ([], ["figures"])


def test_a_folder_in_the_place_of_a_file_is_one_line_that_names_it(tmp_path, call_script):
    (tmp_path / "genotype.json").mkdir()
    status, _, err = call_script("search", *TINY, "search.epochs=1", f"run={tmp_path}")
    assert (status, err.count("\n")) == (2, 1), err
    assert f"{tmp_path / 'genotype.json'} is a folder; expected a file or none" in err
