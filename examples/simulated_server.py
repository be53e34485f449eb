"""A SIMULATED OpenAI-compatible server, asked in place of real ones: a function answers, no LLM runs."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OWNER = "agenttts-simulation"  # by this owner agenttts knows simulated models, and labels the scores
Reply = Callable[[str, str, random.Random], str]


@contextmanager
def simulated_server(models: Sequence[str], reply: Reply) -> Iterator[str]:
    """Serve these models on a free local port.

    Args:
        models: Their names.
        reply: (model, last message, luck) -> the text of one sample; `luck` is fixed by these and the sample's seed.

    Yields:
        The base URL.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": OWNER} for name in models]
            self.answer({"object": "list", "data": listed})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model, prompt = body["model"], body["messages"][-1]["content"]
            seeds = range(body["seed"], body["seed"] + body.get("n", 1))
            texts = [reply(model, prompt, random.Random(f"{model} {seed} {prompt}")) for seed in seeds]
            tokens = sum(len(text.split()) for text in texts)  # here a word is a token
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": tokens}
            self.answer({"choices": [{"message": {"content": text}} for text in texts], "usage": usage})

        def answer(self, content: object) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *args: object) -> None:
            """The examples print their results alone."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()
