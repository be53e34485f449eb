"""The command lines that put a command into a sandbox: bubblewrap's, or `unshare` and our own mounts.

Inside there is a read-only /usr, the interpreter with its libraries, four harmless devices (/dev/zero is not one: it
gives memory that is shared), a /proc of its own processes, and /tmp in memory: everything else of the host is absent,
the network is at most a loopback of its own, and the environment holds nothing of the host's.

Started by root (in containers, in CI), the program runs as a user of its own: Linux does not cap root's processes.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from functools import lru_cache
from pathlib import Path

_NAMESPACES = Path(__file__).with_name("_namespaces.py")
_START = Path(__file__).with_name("_start.py")
_DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_FIRST_USER = 1 << 30
"""From here on user ids belong to nobody; each run takes one at random, so that its processes are counted apart."""


def mechanisms() -> list[str]:
    """Programs on this machine that can build a sandbox, the preferred one first."""
    return [name for name in ("bwrap", "unshare") if shutil.which(name)]


def wrapped(mechanism: str, place: str, disk_bytes: int) -> list[str]:
    """The command that starts `_start.py` in a sandbox.

    Args:
        mechanism: One of `mechanisms()`.
        place: An empty folder of the host to mount on.
        disk_bytes: Size of /tmp.
    """
    command = [_interpreter(), "-I", "-c", _START.read_text(encoding="utf-8")]
    user = _FIRST_USER + secrets.randbelow(_FIRST_USER) if os.geteuid() == 0 else 0
    build = _bubblewrap if mechanism == "bwrap" else _unshare
    return [*build(place, disk_bytes, user), *command]


def _bubblewrap(place: str, disk_bytes: int, user: int) -> list[str]:
    program = shutil.which("bwrap") or "bwrap"
    alone = [program, "--unshare-user", "--disable-userns", "--die-with-parent"]
    apart = ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session", "--die-with-parent"]
    mounts = ["--proc", "/proc", "--perms", "1777", "--size", str(disk_bytes), "--tmpfs", "/tmp"]
    # After /tmp: an interpreter may live there.
    mounts += [word for path in _readonly() for word in (*_above(path), "--ro-bind", path, path)]
    mounts += [word for path in _DEVICES for word in (*_above(path), "--dev-bind", path, path)]
    mounts += [word for path, target in _links().items() for word in ("--symlink", target, path)]
    mounts += ["--remount-ro", "/"]
    if not user:
        return [*alone, *apart, *mounts, "--"]
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    rights = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [program, *apart, *rights, *mounts, "--", *become, *alone, "--dev-bind", "/", "/", "--"]


def _above(path: str) -> list[str]:
    """bubblewrap makes missing folders for its own user alone."""
    folders = [str(folder) for folder in reversed(Path(path).parents) if str(folder) not in ("/", "/tmp")]
    return [word for folder in folders for word in ("--perms", "0755", "--dir", folder)]


def _unshare(place: str, disk_bytes: int, user: int) -> list[str]:
    plan = {
        "readonly": [*_readonly(), *_DEVICES],
        "links": _links(),
        "disk_bytes": disk_bytes,
        "user": user,
    }
    apart = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private"]
    as_root = [] if user else ["--user", "--map-root-user"]
    build = [sys.executable, "-I", "-c", _NAMESPACES.read_text(encoding="utf-8"), place, json.dumps(plan)]
    return [shutil.which("unshare") or "unshare", *as_root, *apart, "--", *build]


@lru_cache
def _readonly() -> tuple[str, ...]:
    """What of the host can be read: the system's programs and libraries, and this interpreter's."""
    there = [path for path in _SYSTEM if os.path.exists(path) and not os.path.islink(path)]
    prefixes = dict.fromkeys(os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.prefix))
    return (*there, *(prefix for prefix in prefixes if not Path(prefix).is_relative_to("/usr")))


def _interpreter() -> str:
    """This interpreter by a path that is there inside, too: its environment may have been entered through a link."""
    folder, name = os.path.split(sys.executable)
    return os.path.join(os.path.realpath(folder), name)


@lru_cache
def _links() -> dict[str, str]:
    return {**{path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)}, "/dev/shm": "/tmp"}
