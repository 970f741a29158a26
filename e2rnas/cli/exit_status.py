"""How a script ends: exit status and line for what the user or the machine did."""

from __future__ import annotations

import errno
import os
import re
import select
import sys
import traceback
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from e2rnas.cli.composing.config_errors import Refused, shortened
from pipeline.compute.faults import first_line
from pipeline.compute.interruption import GOES_ON, REFUSED, STOPPED, Interrupted

PIPE_CLOSED = 141  # exit status: nobody reads what is printed, as with | head; what SIGPIPE gives other programs

CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
CANNOT_WRITE |= {errno.EISDIR, errno.ENOTDIR}  # something else stands where a file belongs
# of PyTorch on the CPU, on CUDA, of cuDNN and cuBLAS, and of C++
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|ALLOC_FAILED|bad_alloc", re.IGNORECASE)
# of oneDNN, which does not tell want of memory from other reasons
PERHAPS_NO_MEMORY = re.compile(r"could not (create|execute) a primitive$")
NO_THREAD = "can't start new thread"  # of Python
LOST_PEER = re.compile(r"Connection (closed|reset) by peer|Broken pipe|NCCL communicator was aborted")
CHECKOUT = Path(__file__).resolve().parents[2]


def ending(error: BaseException, when_out_of_memory: str) -> tuple[int, str] | None:
    """Exit status and line for what a user or the machine did; None for what is a fault of this project."""
    if isinstance(error, Interrupted):
        return error.status, error.line
    if isinstance(error, FloatingPointError):
        return STOPPED, f"stopped: {error}"
    if isinstance(error, PermissionError) and not _may_be_read(error.filename):
        return REFUSED, f"error: {error.filename} cannot be read: {error.strerror}"
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        where = error.filename or "a file"
        return STOPPED, f"stopped: {where}: {error.strerror}; {GOES_ON}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return STOPPED, f"stopped: out of memory; {when_out_of_memory} ({first_line(error)})"
    if isinstance(error, RuntimeError) and PERHAPS_NO_MEMORY.search(str(error)):
        return STOPPED, f"stopped: perhaps out of memory; {when_out_of_memory} ({first_line(error)})"
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return STOPPED, f"stopped: {NO_THREAD}, for want of memory or by a limit of this machine (ulimit -u)"
    if isinstance(error, BrokenProcessPool):
        return STOPPED, f"stopped: a worker process died, perhaps for want of memory ({first_line(error)})"
    if _lost_peer(error):
        return STOPPED, f"stopped: another process of this run ended ({first_line(error)})"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return REFUSED, f"error: {shortened(str(error.filename))}: {error.strerror}"
    if (signal := _signal_behind(error)) is not None:
        return signal.status, signal.line
    if isinstance(error, Refused | ValueError) and _is_ours(error):
        return REFUSED, f"error: {error}"
    return None


def _signal_behind(error: BaseException | None) -> Interrupted | None:
    """Return the signal that led to an error: a library that is interrupted may fail as it puts its state back."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error


def _may_be_read(path: str | bytes | None) -> bool:
    """Whether a path that cannot be used could be read, or is not there, so that it was to be written."""
    if path is None:
        return True
    folder = os.path.dirname(path) or os.curdir  # noqa: PTH120 - it may be bytes
    return os.access(folder, os.X_OK) and (not os.path.lexists(path) or os.access(path, os.R_OK))


def _lost_peer(error: BaseException) -> bool:
    """Whether another process of the run is gone; before PyTorch is imported there is none."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and LOST_PEER.search(str(error)) is not None


def let_no_more_be_printed() -> bool:
    """Silence standard output if its reader is gone, for Python would complain as it ends; whether it is."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLERR)
    is_gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_gone


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised it, and so meant it to be read; a library's own ValueError is a bug of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    raised_in = Path(frames[-1].filename).resolve()
    return raised_in.is_relative_to(CHECKOUT) and "site-packages" not in raised_in.parts
