"""What a disk and a folder do to a run, through the real scripts: each fault is one line, and the same command ends in
the same bits.
"""

import ctypes
import errno
import fcntl
import os
import re
import resource
import shutil

import pytest

from e2rnas.cli import exit_status
from tests.support.forks import META, RETRAIN, SEARCH, assert_same, in_fork, with_more
from tests.support.slowly import slowly


def full_at(count):
    """To be called in a fork, whose disk is then full at its n-th write."""

    def prepare():
        sync, seen = os.fsync, [0]

        def sync_or_fail(descriptor):
            seen[0] += 1
            if seen[0] == count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(descriptor)

        os.fsync = sync_or_fail

    return prepare


@pytest.mark.parametrize("stage", [*slowly(SEARCH), RETRAIN], ids=lambda stage: stage.script)
def test_a_disk_that_is_full_at_any_write_is_one_line_and_the_next_run_ends_in_the_same_bits(tmp_path, whole, stage):
    folder, count = tmp_path / "run", 0
    while True:
        count += 1
        status, err = in_fork(stage, folder, full_at(count))
        assert list(folder.glob("**/*.tmp")) == []
        if status == 0:
            break
        assert status == exit_status.STOPPED
        assert re.fullmatch(rf"stopped: {folder}/\S+: No space left on device; the same command goes on from .*\n", err)
    assert count >= 5
    assert_same(stage, folder, whole(stage))


def test_a_file_that_the_system_refuses_to_write_whole_leaves_the_checkpoint_before(tmp_path, whole):
    """By a limit of the kernel on the size of files, which is an error of write() itself."""
    folder = tmp_path / "run"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    status, err = in_fork(SEARCH, folder, limit)
    assert status == exit_status.STOPPED
    assert re.fullmatch(rf"stopped: {folder}/checkpoint/search-\S+\.ckpt: File too large; .*\n", err)
    assert list(folder.glob("checkpoint/*")) == []
    assert in_fork(SEARCH, folder)[0] == 0
    assert_same(SEARCH, folder, whole(SEARCH))


def obey_permissions():
    """Give up what lets root write where its permissions do not; capabilities(7): DAC_OVERRIDE, DAC_READ_SEARCH."""
    library, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert library.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert library.capset(header, sets) == 0


@pytest.mark.parametrize("stage", [SEARCH, RETRAIN, META], ids=lambda stage: stage.script)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, stage):
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o555)
    status, err = in_fork(stage, folder, obey_permissions)
    assert (status, err.count("\n")) == (exit_status.REFUSED, 1)
    assert re.match(rf"error: run={folder} cannot be (written|made a folder): Permission denied", err)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("stage", [SEARCH, RETRAIN, META], ids=lambda stage: stage.script)
def test_a_second_run_on_the_same_folder_is_refused(tmp_path, call_script, stage):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, err = call_script(stage.script, *stage.overrides, f"run={tmp_path}")
    assert (status, err.count("\n")) == (exit_status.REFUSED, 1)
    assert f"another process is at work in {tmp_path}; wait for it or choose another run=" in err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_may_not_be_read_is_refused_and_what_may_not_be_written_stops_the_stage(tmp_path, monkeypatch):
    def ending_at(path):
        return exit_status.ending(PermissionError(errno.EACCES, "Permission denied", str(path)), "")

    there, missing = tmp_path / "search.json", tmp_path / "folder" / "search.json"
    there.touch()
    missing.parent.mkdir()
    assert [ending_at(path)[0] for path in (there, missing)] == [exit_status.STOPPED] * 2  # they may be read
    refused = [(exit_status.REFUSED, f"error: {path} cannot be read: Permission denied") for path in (there, missing)]
    closed = {(str(there), os.R_OK), (str(missing.parent), os.X_OK)}
    monkeypatch.setattr(os, "access", lambda path, mode: (str(path), mode) not in closed)
    assert [ending_at(path) for path in (there, missing)] == refused


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("stage", ["search", "evaluate", "report"])
def test_a_run_folder_that_may_not_be_read_is_one_line(tmp_path, call_script, stage):
    (tmp_path / "run").mkdir(mode=0)
    status, _, err = call_script(stage, f"run={tmp_path / 'run'}")
    assert (status, err.count("\n")) == (2, 1), err
    assert f"error: {tmp_path / 'run'}" in err
    assert "cannot be read: Permission denied" in err


def unfinished(stage, whole, folder):
    """A copy of a finished run before its end; its checkpoints, the newest last."""
    shutil.copytree(whole, folder)
    (folder / stage.files[-1]).unlink()
    return sorted(folder.glob("checkpoint/*.ckpt"))


@pytest.mark.parametrize("spoiled", [*slowly(1), 2])
@pytest.mark.parametrize(
    "stage", [*slowly(SEARCH), RETRAIN, with_more(META, "meta.judge_every=2")], ids=lambda s: s.script
)
def test_a_stage_goes_back_to_a_checkpoint_that_is_whole_and_says_so(tmp_path, whole, stage, spoiled):
    folder = tmp_path / "run"
    paths = unfinished(stage, whole(stage), folder)
    for path, length in zip(reversed(paths), (None, -100)[:spoiled], strict=False):
        content = bytearray(path.read_bytes()[:length])
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    status, err = in_fork(stage, folder)
    assert status == 0, err
    ends = ["going back to the one before", "starting from the beginning"][:spoiled]
    assert [line.rpartition("; ")[2] for line in err.splitlines()] == ends
    assert err.startswith(f"warning: {paths[-1]} cannot be read (its content is not what was written)")
    assert_same(stage, folder, whole(stage))
