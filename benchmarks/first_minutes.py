"""The first minutes with the command line, recorded as text: `asciinema play benchmarks/results/first_minutes.cast`.

    python benchmarks/first_minutes.py [--out FILE]

Runs the commands in an empty folder and writes what each prints, line by line with its time, as an asciinema file
(version 2). Only `minihop-recorded` is searched: it replays samples of real models, so that no model runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (
    "agenttts init",
    "agenttts search pipeline.py",
    "agenttts search pipeline.py:environment",
    "agenttts check minihop-recorded",
    "agenttts search minihop-recorded --llm none --trials 12",
    "agenttts best",
)
WIDTH, HEIGHT = 100, 40
Event = tuple[float, str, str]


def record() -> list[Event]:
    """Every command and every line that it printed, with the seconds since the beginning."""
    started, events = time.monotonic(), list[Event]()

    def write(text: str) -> None:
        events.append((round(time.monotonic() - started, 3), "o", text.replace("\n", "\r\n")))

    program = [sys.executable, "-c", "from agenttts.cli import main; main()"]
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AGENTTTS_"))}
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            write(f"$ {command}\n")
            with subprocess.Popen(
                [*program, *shlex.split(command)[1:]],
                cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                for line in process.stdout or ():
                    write(line.replace(str(Path(sys.executable).parent) + "/", ""))
    return events


def main() -> None:
    """Record, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "first_minutes.cast")
    out = parser.parse_args().out
    head = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": "The first minutes with agenttts"}
    head["idle_time_limit"] = 2  # seconds: whoever plays it need not wait for the searches
    out.write_text("".join(json.dumps(line) + "\n" for line in (head, *record())), encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
