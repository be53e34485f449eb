"""Runs a program that must not outlive its owner: it ends, with all that it has started, when a pipe closes.

Run by its path, with the number of the pipe's file and the program's command. Where the pipe is standard input, the
program has none. On Linux, processes that have left the program's group come back to this one, and end too.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_GRACE_S = 5.0
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""


def main() -> None:
    """Run the command in the arguments, and end as it ends."""
    pipe = int(sys.argv[1])
    _adopt()
    started = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL if pipe == 0 else None, start_new_session=True)
    threading.Thread(target=_end_with_owner, args=(started, pipe), daemon=True).start()
    code = started.wait()
    _signal(started, signal.SIGKILL)  # workers that it left behind hold what they hold
    _end_orphans()
    sys.exit(code if code >= 0 else 128 - code)


def _end_with_owner(started: "subprocess.Popen[bytes]", pipe: int) -> None:
    while os.read(pipe, 4096):  # unbuffered: a buffer's lock would be in the way when this process ends first
        pass
    _signal(started, signal.SIGTERM)
    threading.Event().wait(_GRACE_S)
    _signal(started, signal.SIGKILL)


def _signal(started: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Signal its whole group; its leader's id is no other group's as long as one of it lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(started.pid, number)


def _adopt() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _end_orphans() -> None:
    """Kill the children of this process until it has none."""
    with suppress(OSError):
        while True:
            with open(f"/proc/self/task/{os.getpid()}/children") as listed:
                children = [int(each) for each in listed.read().split()]
            if not children:
                return
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


if __name__ == "__main__":
    main()
