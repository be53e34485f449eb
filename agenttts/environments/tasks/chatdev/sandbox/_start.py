"""Inside the sandbox: writes the program's files, limits itself, and runs the program. Standard library only.

Reads one line of JSON from standard input: files, main, cpu_s, memory_bytes, processes, disk_bytes, and filter (what
the kernel is to refuse, a seccomp program in hexadecimal digits).
"""

import ctypes
import json
import os
import resource
import subprocess
import sys

FOLDER = "/tmp/program"


PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def refuse_calls(steps: bytes) -> None:
    """For this process and all that it starts. Where the kernel has no filters, the probe finds that out."""
    kept = ctypes.create_string_buffer(steps, len(steps))
    program = FilterProgram(len(steps) // 8, ctypes.cast(kept, ctypes.c_void_p))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def main() -> int:
    job = json.loads(sys.stdin.readline())
    os.makedirs(FOLDER)
    os.chdir(FOLDER)
    for name, text in job["files"].items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
    for limit, most in (
        (resource.RLIMIT_CPU, job["cpu_s"]),
        (resource.RLIMIT_AS, job["memory_bytes"]),
        (resource.RLIMIT_NPROC, job["processes"]),
        (resource.RLIMIT_FSIZE, job["disk_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    if job["filter"]:
        refuse_calls(bytes.fromhex(job["filter"]))
    # Open and silent, as a terminal where nobody types: a program that asks goes on waiting.
    silent, _writer = os.pipe()
    ended = subprocess.run([sys.executable, job["main"]], stdin=silent, check=False).returncode
    return ended if ended >= 0 else 128 - ended


sys.exit(main())
