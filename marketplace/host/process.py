"""A process that never outlives its parent, and that can be found again.

As a script it becomes another program: it ties its life to the parent's, takes the lock that marks the process as
alive (the program and all that it forks inherit it), and executes. A lock that is still held after the supervisor's
death is a survivor, and the file names it. Needs the standard library only, because it runs as `python -I -S`.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.5

_imported_by = os.getpid()


def die_with_parent(*, sign: int = signal.SIGKILL, parent: int | None = None) -> None:
    """From now on the end of the parent process ends this one, by the signal `sign`, even after `kill -9`.

    Call it at the start of a process, in its main thread. A forked child finds its parent by itself when this module
    was imported before the fork; otherwise `parent` is the expected parent's process id. On Linux the kernel keeps
    the promise; elsewhere a thread looks twice a second.
    """
    if parent is None:
        parent = os.getppid() if os.getpid() == _imported_by else _imported_by
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sign), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    else:
        threading.Thread(target=_watch, args=(os.getpid(), parent, sign), daemon=True).start()
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), sign)


def started_at(pid: int) -> str:
    """A mark that differs between two processes that had the same id; empty where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _watch(pid: int, parent: int, sign: int) -> None:
    """End `pid` when its `parent` is gone."""
    while True:
        try:
            os.kill(parent, 0)
        except PermissionError:
            pass
        except ProcessLookupError:
            os.kill(pid, sign)
            return
        time.sleep(POLL_SECONDS)
        if pid != os.getpid() and os.getppid() != pid:
            return


def _become(lock: str, sign: int, parent: int, command: list[str]) -> None:
    """Hold `lock`, tie this process to `parent`, and execute `command` in its place."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{lock} is held by an earlier process that has not ended yet")
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()} {started_at(os.getpid())}\n".encode())
    os.set_inheritable(handle, True)  # noqa: FBT003
    if sys.platform == "linux":
        die_with_parent(sign=sign, parent=parent)
    elif os.fork() == 0:  # a thread would not live through exec
        os.close(handle)
        _watch(os.getppid(), parent, sign)
        os._exit(0)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _become(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
