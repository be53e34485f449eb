"""Plays SGLang's part: a real process with the documented arguments and endpoints that are used of it, and no model.

`install` makes a package `sglang` of it. It appends what happens to the file `events` of its folder, a line each.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.vllm_standin import completion, happened

PROGRAM = "import sys\nsys.path.insert(0, {root!r})\nfrom tests.sglang_server import main\nmain()\n"


def install(folder: Path) -> dict[str, str]:
    """Make the package; returns the environment in which it is found."""
    package = folder / "packages" / "sglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "launch_server.py").write_text(PROGRAM.format(root=str(Path(__file__).parents[1])))
    return {"PYTHONPATH": str(package.parent), "STANDIN": str(folder)}


def told_to_crash(path: str) -> bool:
    """Whether a test wants a server to end when it is told this; it does once."""
    wanted = Path(os.environ["STANDIN"]) / f"crash{path.replace('/', '-')}"
    with suppress(FileNotFoundError):
        wanted.unlink()
        return True
    return False


def main() -> None:
    """Act as `python -m sglang.launch_server`, which knows these arguments and refuses others."""
    parser = ArgumentParser()
    for name in ("model-path", "host", "served-model-name", "weight-version", "sampling-defaults"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "context-length", "tp-size", "max-total-tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--mem-fraction-static", type=float, required=True)
    for name in ("enable-memory-saver", "enable-weights-cpu-backup", "enable-metrics"):
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args()
    assert given.sampling_defaults in ("openai", "model") and 0 < given.mem_fraction_static < 1
    happened("start", given.served_model_name, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], *sys.argv[1:])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asleep = False
        aborted = idle = False
        warmed = 0

        def do_GET(self) -> None:
            if self.path == "/model_info":
                self.send(200, {"model_path": given.model_path, "weight_version": given.weight_version})
            else:
                Handler.warmed += 1  # it answers before it can generate
                self.send(200 if Handler.warmed > 1 else 503, None)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/abort_request":
                Handler.aborted = body["abort_all"]
                self.send(200, None)
                return
            if self.path == "/flush_cache?timeout=30":
                Handler.idle = Handler.aborted
                self.send(200 if Handler.idle else 400, None)
                return
            if self.path.endswith("_memory_occupation"):
                waking = self.path.startswith("/resume")
                if waking is not Handler.asleep or not Handler.idle or told_to_crash(self.path):
                    os._exit(1)  # as it does where it has work, or is told what it has done already
                Handler.asleep = self.path == "/release_memory_occupation"
                happened("sleep" if Handler.asleep else "wake", given.served_model_name)
                self.send(200 if given.enable_memory_saver and given.enable_weights_cpu_backup else 400, None)
                return
            Handler.aborted = Handler.idle = False
            happened("asleep!" if Handler.asleep else "ask", given.served_model_name)
            self.send(200, completion(body))

        def send(self, status: int, data: object) -> None:
            payload = b"" if data is None else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """It has other things to log."""

    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()
