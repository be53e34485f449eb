"""A program written with the official client is searched as it is, but for where its client is imported from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import agenttts as at
from agenttts.adapters.openai import AsyncOpenAI, OpenAI
from agenttts.errors import ConfigError
from agenttts.pipeline import Example, StepRun
from tests.adapters.conftest import CHOSEN, Models, environment, require_metered
from tests.endpoint import FakeEndpoint

AWAY = {"api_key": "none", "base_url": "http://127.0.0.1:9/v1"}  # nothing listens there
client, blocking = AsyncOpenAI(**AWAY), OpenAI(**AWAY)


def last_line(reply: Any) -> str:
    return str(reply.choices[0].message.content).rpartition("Answer: ")[2]


def asked(text: str) -> Any:
    return [{"role": "system", "content": "Go."}, {"role": "user", "content": [{"type": "text", "text": text}]}]


async def by_step(example: Example, steps: Mapping[str, StepRun]) -> str:
    find, answer = (client.step(name).chat.completions for name in ("find", "answer"))
    fact = last_line(
        await find.create(model="gpt-x", messages=asked(f"question {example['question']}"), temperature=0.2)
    )
    stream = await answer.create(model="gpt-x", messages=asked(f"Use {fact}"), stream=True)
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    return said.rpartition("Answer: ")[2]


async def by_name(example: Example, steps: Mapping[str, StepRun]) -> str:
    create = client.chat.completions.create
    fact = last_line(await create(model="step:find", messages=asked(f"question {example['question']}")))
    raw = await client.chat.completions.with_raw_response.create(model="step:answer", messages=asked(f"Use {fact}"))
    return last_line(raw.parse())


async def in_threads(example: Example, steps: Mapping[str, StepRun]) -> str:
    def work() -> str:
        create = blocking.step("find").chat.completions.create
        fact = last_line(create(model="gpt-x", messages=asked(f"question {example['question']}")))
        return last_line(blocking.chat.completions.create(model="step:answer", messages=asked(f"Use {fact}")))

    return await asyncio.to_thread(work)


@pytest.mark.parametrize("program", [by_step, by_name, in_threads])
async def test_models_and_samples_come_from_the_allocation(program: Any, models: Models) -> None:
    found = environment(program, models)
    require_metered(await found.evaluate(CHOSEN), await found.evaluate(CHOSEN), models)


def test_outside_of_a_search_it_is_the_plain_client(endpoint: FakeEndpoint) -> None:
    with OpenAI(api_key="k", base_url=endpoint.url) as plain:
        said = plain.step("answer").chat.completions.create(model="small", messages=[{"role": "user", "content": "x"}])
    assert str(said.choices[0].message.content).startswith("text")
    assert endpoint.requests[-1]["model"] == "small" and "step" not in json.dumps(endpoint.requests).lower()


async def test_mistakes_are_told(models: Models) -> None:
    async def unknown(example: Example, steps: Mapping[str, StepRun]) -> str:
        return last_line(await client.step("serach").chat.completions.create(model="x", messages=asked("x")))

    async def tooled(example: Example, steps: Mapping[str, StepRun]) -> str:
        return last_line(await client.chat.completions.create(model="step:find", messages=asked("x"), n=3))

    async def other(example: Example, steps: Mapping[str, StepRun]) -> str:
        return str(await client.step("find").responses.create(model="x", input="x"))

    async def lost(example: Example, steps: Mapping[str, StepRun]) -> str:
        with ThreadPoolExecutor() as threads:
            create = blocking.step("find").chat.completions.create
            asking = threads.submit(create, model="x", messages=asked("x"))
            return last_line(await asyncio.wrap_future(asking))

    async def blocked(example: Example, steps: Mapping[str, StepRun]) -> str:
        return last_line(blocking.chat.completions.create(model="step:find", messages=asked("x")))

    for program, message in [
        (unknown, "there is no step 'serach'; the pipeline's subtasks are find, answer"),
        (tooled, "step 'find' takes no 'n' in a request"),
        (other, "step 'find' answers chat completions alone"),
        (lost, "step 'find' was asked from a thread that does not know its example: start it by asyncio.to_thread"),
        (blocked, "a blocking call inside the event loop"),
    ]:
        with pytest.raises(ConfigError, match=message):
            await environment(program, models).evaluate(CHOSEN)
    with pytest.raises(ConfigError, match="leave http_client out"):
        AsyncOpenAI(**AWAY, http_client=object())


async def test_a_server_that_is_gone_is_no_answer_of_the_program(models: Models) -> None:
    def gone(model: Any, messages: Any, position: int) -> str:
        raise at.EndpointError("model did not answer", unreachable=True)

    with pytest.raises(at.EndpointError, match="model did not answer"):
        await environment(by_name, gone).evaluate(CHOSEN)  # type: ignore[arg-type]
