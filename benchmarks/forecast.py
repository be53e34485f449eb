"""What searches were expected to take, beside what they took: two efforts of one model, and one small model.

    python -m benchmarks.forecast

A local server answers like a provider: the reasoning model thinks 40 or 600 tokens and is right in 80 or 95 % of its
samples, the small one answers at once and is right in 60 %. The pipeline declares 20 tokens of answer for all of them,
as somebody does who has not thought of reasoning. The first search learns the lengths; the second, of other examples
and with twice the trials, is forecast with them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import agenttts as at
from agenttts.searching.forecast import Amount, Earlier, forecast
from agenttts.study.lengths import measured_lengths

THOUGHT = {"low": 40, "high": 600}
RIGHT = {"low": 0.8, "high": 0.95, None: 0.6}
EXAMPLES = 40
BUDGET_USD = 0.0012
BILLED: Counter[tuple[str, str]] = Counter()
"""Model and what is billed ("requests", "tokens") -> how much the provider has billed."""


class Provider(BaseHTTPRequestHandler):
    """Answers chats, and tells the usage as it is billed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": name} for name in ("mini", "small")]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        effort, seed = asked.get("reasoning_effort"), asked.get("seed", 0)
        samples = [_sample(asked["messages"][-1]["content"], effort, seed + i) for i in range(asked.get("n", 1))]
        tokens = sum(count for _, count in samples)
        prompt = 60 + len(asked["messages"][-1]["content"]) // 4
        name = "-".join(filter(None, (asked["model"], effort)))
        BILLED.update({(name, "requests"): 1, (name, "tokens"): prompt + tokens})
        choices = [
            {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for i, (text, _) in enumerate(samples)
        ]
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
        self._send({"id": "1", "object": "chat.completion", "choices": choices, "usage": usage})

    def _send(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _sample(question: str, effort: str | None, seed: int) -> tuple[str, int]:
    """A text, and the tokens that are billed for it."""
    luck = int(hashlib.sha256(f"{question} {effort} {seed}".encode()).hexdigest()[:8], 16) / 16**8
    number = int(question.split()[1].rstrip(":"))
    answer = number % 7 if luck < RIGHT[effort] else (number + 1 + int(luck * 5)) % 7
    thought = THOUGHT.get(effort or "", 0)
    return f"Answer: {answer}", 6 + int(thought * (0.5 + luck))


def environment(url: str, first: int) -> at.LiveEnvironment:
    """Two stages that ask the same three models, on the examples from a first one on."""
    prices = {"usd_per_million_prompt_tokens": 0.25, "usd_per_million_completion_tokens": 2.0}
    mini = at.Model("mini", base_url=url, **prices)
    small = at.Model("small", base_url=url, **{name: each / 5 for name, each in prices.items()})
    models = (small, *mini.efforts("low", "high"))

    def stage(name: str, prompt: str) -> at.Subtask:
        return at.Subtask(
            name, models, prompt, parser=at.parsers.tagged("Answer:"), prompt_tokens=64, completion_tokens=20,
            max_samples=8, sampling=at.Sampling(max_tokens=2000),
        )  # fmt: skip

    stages = (
        stage("draft", "Question {{ number }} of the course"),
        stage("answer", "Question {{ number }}: {{ draft }}"),
    )
    rows = [{"id": str(n), "number": str(n), "gold": str(n % 7)} for n in range(first, first + EXAMPLES)]
    return at.LiveEnvironment(at.Pipeline("course", stages, metric=at.metrics.exact_match("gold")), rows)


async def searched(url: str, store: at.Store, seed: int, trials: int) -> None:
    """Forecast one search, run it, and print both."""
    course = environment(url, seed * EXAMPLES)
    space = at.SearchSpace(course.pipeline, at.cost_model("usd"), BUDGET_USD)
    plan = at.SearchPlan(
        course, at.searcher("agent", seed=seed, llm="none"), space, store, study_name=f"course-{seed}", seed=seed,
        limits=at.Limits(trials=trials),
    )  # fmt: skip
    found = forecast(plan, Earlier.read(store, "course"))
    BILLED.clear()
    result = await at.search(plan)
    spend = result.spend
    print(
        f"| {seed + 1} | {trials} | {found.tokens:,.0f} | {spend.tokens:,} | {found.usd:.3f} | {spend.usd:.3f} | "
        f"{found.most_usd:.2f} | {result.best.allocation} | {result.best.cost:.6f} |"
    )
    if not seed:
        return
    print("\n| model | requests, expected | asked | tokens, expected | paid |")
    print("|---|---:|---:|---:|---:|")
    for name in found.models:
        amount = found.expected.get(name, Amount())
        asked, paid = BILLED[name, "requests"], BILLED[name, "tokens"]
        print(f"| {name} | {amount.requests:,.0f} | {asked:,} | {amount.tokens:,.0f} | {paid:,} |")
    trials_seen = [trial for study in store.studies() for trial in store.archive(study).trials]
    print("\n| stage, model | declared | measured (95 %) | USD per sample, declared | measured |")
    print("|---|---:|---:|---:|---:|")
    for (name, model), lengths in sorted(measured_lengths(trials_seen).items()):
        subtask = course.pipeline.subtask(name)
        asked = subtask.model(model)
        usd = [
            float(space.cost_model.cost(each, asked, 1))
            for each in (subtask, subtask.with_lengths((lengths.prompt.mean, lengths.completion.mean)))
        ]
        print(f"| {name}, {model} | 20 | {lengths.completion} | {usd[0]:.6f} | {usd[1]:.6f} |")


async def main() -> None:
    """Two searches in one store."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("| search | trials | tokens, expected | paid | USD, expected | spent | most | recommended | USD a query |")
    print("|---|---:|---:|---:|---:|---:|---:|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        store = at.Store(str(Path(folder) / "runs.db"))
        for seed, trials in enumerate((8, 16)):
            await searched(f"http://127.0.0.1:{server.server_address[1]}/v1", store, seed, trials)
        store.close()
    server.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
