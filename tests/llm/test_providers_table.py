"""The table of docs/guides/providers.md: what works with every shape, and what is said otherwise."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agenttts as at
from agenttts.errors import AgentTTSError
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model
from tests.llm.providers import KEY, SHAPES, Provider, Said, refusal

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "providers.md"
TOOL = {"type": "function", "function": {"name": "repeat", "parameters": {"type": "object"}}}
HEADING = (
    "| shape | works | left out, told once | 4 samples take | tokens | tools | of a model `no-such` is said |\n"
    "|---|---|---|---|---|---|---|"
)
UNKNOWN = {
    "openai": refusal("The model `no-such` does not exist or you do not have access to it.", 404),
    "anthropic": Said({"type": "error", "error": {"type": "not_found_error", "message": "model: no-such"}}, 404),
    "gemini": Said([{"error": {"code": 404, "message": "models/no-such is not found for API version v1main"}}], 404),
    "openrouter": refusal("no-such is not a valid model ID"),
    "together": refusal("Unable to access model no-such. Please visit https://api.together.ai/models", 404),
    "mistral": Said({"object": "error", "message": "Invalid model: no-such", "type": "invalid_model"}, 400),
    "litellm": refusal("/chat/completions: Invalid model name passed in model=no-such"),
    "ollama": refusal('model "no-such" not found, try pulling it first', 404),
    "vllm": refusal("The model `no-such` does not exist.", 404),
}
"""What each says of a model that it does not have; the others serve whatever name they are asked for."""


async def evaluated(provider: Provider, model: Model, samples: int, **stage: Any) -> at.Evaluation:
    gold = [{"name": "repeat", "arguments": {"word": "paris"}}] if stage else "paris"
    subtask = at.Subtask("answer", [model], "repeat {{ word }}", **stage)
    pipeline = at.Pipeline("repeat", [subtask], at.metrics.equal("gold"))
    client = OpenAIClient(timeout_s=5, max_retries=0)
    environment = at.LiveEnvironment(pipeline, [{"id": "1", "word": "paris", "gold": gold}], client=client)
    async with environment:
        return await environment.evaluate(at.Allocation({"answer": (model.name, samples)}))


async def outcome(provider: Provider, model: Model, **stage: Any) -> str:
    """`yes`, or what is said."""
    try:
        evaluation = await evaluated(provider, model, 1, **stage)
    except AgentTTSError as error:
        said = re.sub(r"https?://127\.0\.0\.1:\d+[^\s,;]*", "URL", str(error))
        said = said.partition(" (model ")[0].rpartition(" at URL ")[2]
        return said.removeprefix("URL does not serve the model 'no-such'; ")
    return "yes" if evaluation.score == 1 else "no"


async def row(name: str, caplog: pytest.LogCaptureFixture) -> str:
    shape = SHAPES[name]
    key = {"api_key_env": "PROVIDER_KEY"} if shape.header == "authorization" else {}
    with Provider(shape) as provider:
        model = Model(**{"name": shape.model, "base_url": provider.url, **key, **shape.fields})
        caplog.clear()
        found = await evaluated(provider, model, 4)
        asked = sum(body["messages"][-1]["content"] != "ready" for body in provider.requests)
        fields = re.findall(r"does not take (\w+)=", caplog.text)
        at_once = "one request" if provider.requests[-1].get("n") == 4 else "four requests"
        tools = await outcome(provider, model, tools=[TOOL])
    unknown = UNKNOWN.get(name.split()[0])
    with Provider(shape if unknown is None else replace(shape, chat=lambda body: unknown)) as provider:
        other = replace(model, name="no-such", served_name="no-such", base_url=provider.url)
        wrong_name = "nothing: it serves any name" if unknown is None else await outcome(provider, other)
    counted = "estimated" if found.spend.estimated_tokens else "told"
    works = "yes" if found.score == 1 and asked else "no"
    cells = (name, works, ", ".join(dict.fromkeys(fields)) or "-", at_once, counted, tools, wrong_name)
    return f"| {' | '.join(cells)} |"


async def test_the_table_of_the_page_is_what_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("PROVIDER_KEY", KEY)
    caplog.set_level(logging.WARNING)
    table = "\n".join([HEADING, *[await row(name, caplog) for name in SHAPES]])
    assert table in PAGE.read_text(), f"{PAGE.name} should hold:\n{table}"
