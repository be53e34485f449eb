"""Inside fresh namespaces, before the program: builds its file system and gives every privilege up.

What bubblewrap does where it is not installed. Standard library only; run by `unshare`, as the namespaces' root.
Reads the arguments: an empty folder to mount on, a JSON object (readonly, links, disk_bytes, user), the command.
"""

import ctypes
import json
import os
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MNT_DETACH = 2
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


def checked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    texts = [text.encode() or None for text in (source, target, kind, data)]
    checked(LIBC.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def bind_readonly(path: str, root: str) -> None:
    target = root + path
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    mount(path, target, flags=MS_BIND | MS_REC)
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)  # set, clear, propagation, user namespace
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    checked(
        LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, size), f"protect {path}"
    )


def build(root: str, plan: dict) -> None:  # type: ignore[type-arg]
    for folder in ("/proc", "/tmp"):
        os.mkdir(root + folder)
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", root + "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,nr_inodes=10000,size={plan['disk_bytes']}")
    for path in plan["readonly"]:  # after /tmp: an interpreter may live there
        bind_readonly(path, root)
    for path, target in plan["links"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)


def give_up(user: int) -> None:
    checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        checked(LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "capabilities")
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def main(place: str, plan_text: str, *command: str) -> None:
    plan = json.loads(plan_text)
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    root = place + "/root"  # a folder, not the mount itself: who is in a chroot cannot make user namespaces
    os.mkdir(root)
    build(root, plan)
    mount("", place, flags=MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(place)
    subprocess.run(["pivot_root", ".", "."], check=True)
    checked(LIBC.umount2(b".", MNT_DETACH), "leave the old root")
    os.chroot("/root")
    os.chdir("/")
    give_up(plan["user"])
    os.execv(command[0], command)


main(*sys.argv[1:])
