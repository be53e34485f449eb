"""A stand-in for vLLM: a real process with vLLM's command line and endpoints, and no model.

Installed as an executable `vllm` by `install`. What it does wrong is said in files of its folder, so that a test can
change it while it runs: `crash` (how many more servers end when they are first asked), `refuse` (end at the start),
`slow` (seconds before it listens), `version`. It appends what happens to `events`, a line each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path

FOLDER = Path(os.environ.get("STANDIN", "."))


def install(folder: Path) -> dict[str, str]:
    """Make the executable; returns the environment in which it is found."""
    program = folder / "bin" / "vllm"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "STANDIN": str(folder)}


def told(name: str, default: str = "") -> str:
    """What a file says."""
    try:
        return (FOLDER / name).read_text()
    except FileNotFoundError:
        return default


def happened(*what: object) -> None:
    """Append an event; short appended writes of several processes do not mix."""
    with (FOLDER / "events").open("a") as events:
        events.write(" ".join(map(str, what)) + "\n")


def main() -> None:
    """Act as `vllm --version` or `vllm serve`."""
    if sys.argv[1] == "--version":
        print(told("version", "0.25.0"))
        return
    words = sys.argv[3:]
    options = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
    named = words[words.index("--served-model-name") + 1 :] if "--served-model-name" in words else [sys.argv[2]]
    serve(int(options["--port"]), list(takewhile(lambda word: not word.startswith("--"), named)), words)


def serve(port: int, names: list[str], words: list[str]) -> None:
    """Serve until told to end."""
    worker = subprocess.Popen(["sleep", "600"])
    happened("start", names[0], os.getpid(), worker.pid, os.environ.get("CUDA_VISIBLE_DEVICES"))
    (FOLDER / f"{names[0].rpartition('/')[2]}.words").write_text("\n".join(words))
    if told("refuse"):
        print("ValueError: not enough memory")
        sys.exit(1)
    time.sleep(float(told("slow", "0")))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asleep = False

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self.send_bytes(metrics(names[0]).encode(), "text/plain; version=0.0.4; charset=utf-8")
                return
            self.send({"object": "list", "data": [
                {"id": name, "object": "model", "created": 0, "owned_by": "vllm"} for name in names
            ]})  # fmt: skip

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith(("/sleep", "/wake_up")):
                Handler.asleep = self.path.startswith("/sleep")
                happened("sleep" if Handler.asleep else "wake", names[0])
                self.send({})
                return
            with CRASHING:  # of requests side by side, one crashes it
                crashes = int(told("crash", "0"))
                if crashes:
                    (FOLDER / "crash").write_text(str(crashes - 1))
                    happened("crash", names[0])
                    os._exit(3)
            happened("asleep!" if Handler.asleep else "ask", names[0])
            self.send(completion(json.loads(body)))

        def send(self, data: object) -> None:
            self.send_bytes(json.dumps(data).encode(), "application/json")

        def send_bytes(self, payload: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """It has other things to log."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


CRASHING = threading.Lock()
PROMPTS: set[str] = set()
COUNTED = {"queries": 0, "hits": 0}


def metrics(name: str) -> str:
    """The counters of vLLM 0.25 that tests look at, as its prometheus_client writes them."""
    lines = []
    for kind, tokens in COUNTED.items():
        lines += [f"# HELP vllm:prefix_cache_{kind}_total Prefix cache {kind}.",
                  f"# TYPE vllm:prefix_cache_{kind}_total counter",
                  f'vllm:prefix_cache_{kind}_total{{engine="0",model_name="{name}"}} {float(tokens)}']  # fmt: skip
    return "\n".join([*lines, 'vllm:external_prefix_cache_hits_total{engine="0",model_name="x"} 9.0', ""])


def count(prompt: str, samples: int) -> None:
    """Every sample looks the whole prompt up; a prompt that was asked before is found, and so is one's own."""
    tokens, known = len(prompt.split()), prompt in PROMPTS
    PROMPTS.add(prompt)
    COUNTED["queries"] += tokens * samples
    COUNTED["hits"] += tokens * (samples if known else samples - 1)


FORMAL = """[1] {"task_steps": ["Step one"], "task_nodes": [{"task": "t"}]}
main.py
```
print("yes")
```
Answer: yes"""


def completion(body: dict[str, object]) -> dict[str, object]:
    """Every choice says "yes", in the form that the paper's tasks ask for."""
    samples, prompt = int(str(body.get("n") or 1)), json.dumps(body["messages"])
    count(prompt, samples)
    formal = any(word in prompt for word in ("Answer:", "Candidates:", "JSON", "program"))
    message = {"role": "assistant", "content": FORMAL if formal else "yes"}
    choices = [{"index": i, "finish_reason": "stop", "message": message} for i in range(samples)]
    usage = {"prompt_tokens": 3, "completion_tokens": samples, "total_tokens": 3 + samples}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": choices,
            "usage": usage}  # fmt: skip


if __name__ == "__main__":
    main()
