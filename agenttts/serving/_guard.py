"""Runs a server that must not outlive this program's parent: it ends, with its workers, when standard input closes."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_GRACE_S = 5.0


def main() -> None:
    """Run the command in the arguments, and end as it ends."""
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_owner, args=(server,), daemon=True).start()
    code = server.wait()
    _signal(server, signal.SIGKILL)  # workers that their server left behind hold the GPU's memory
    sys.exit(code if code >= 0 else 128 - code)


def _end_with_owner(server: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):  # unbuffered: a buffer's lock would be in the way when this process ends first
        pass
    _signal(server, signal.SIGTERM)
    threading.Event().wait(_GRACE_S)
    _signal(server, signal.SIGKILL)


def _signal(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the server's whole group; its leader's id is no other group's as long as one of it lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)


if __name__ == "__main__":
    main()
