"""Inside the sandbox: writes the program's files, limits itself, and runs the program. Standard library only.

Reads one line of JSON from standard input: files, main, cpu_s, memory_bytes, processes, disk_bytes.
"""

import json
import os
import resource
import subprocess
import sys

FOLDER = "/tmp/program"


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
    # Open and silent, as a terminal where nobody types: a program that asks goes on waiting.
    silent, _writer = os.pipe()
    ended = subprocess.run([sys.executable, job["main"]], stdin=silent, check=False).returncode
    return ended if ended >= 0 else 128 - ended


sys.exit(main())
