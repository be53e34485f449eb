"""A planner that asks a chat model: the paper's agent proper, on any OpenAI-compatible endpoint.

The model sees what the paper's prompts show (subtasks, models and lengths, the cost, the history, the guidelines) and
beside it the same evidence that the rule planner acts on. Replies are asked for as JSON by schema where the server
can, and read tolerantly where it cannot; whatever it proposes passes the graph's check like anyone's proposals.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from agenttts.agent import prompts
from agenttts.agent.planner import Plan, Refused, Thought, View
from agenttts.allocation import Allocation
from agenttts.environments.client import DEFAULT_BASE_URL, masked_reason, openai_client, shown_url
from agenttts.errors import ConfigError, EndpointError, ParseError
from agenttts.parsers import json_object
from agenttts.pipeline import SubtaskInput
from agenttts.trial import Proposal, Spend

DEFAULT_MODEL = "o3-mini"
"""The paper's search model."""
_TIMEOUT_S = 300.0
_MAX_RETRIES = 5


class _Choice(BaseModel):
    model: str
    samples: int = Field(ge=1)


class _Candidate(BaseModel):
    rationale: str = ""
    allocation: dict[str, _Choice]


class _Reply(BaseModel):
    candidates: list[_Candidate]


@dataclass(frozen=True)
class _Answer:
    text: str
    spend: Spend


class LLMPlanner:
    """Guidelines and proposals from a chat model.

    Args:
        model: Its name at the endpoint.
        base_url: The endpoint; the environment variable OPENAI_BASE_URL, or OpenAI's own, when None.
        api_key_env: Environment variable that holds the key.

    Raises:
        ConfigError: When OpenAI's endpoint is meant and the key is not set.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, base_url: str | None = None, api_key_env: str = "OPENAI_API_KEY"
    ) -> None:
        self.name = model
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        self._key_env = api_key_env
        self._takes_schema = True
        if not os.environ.get(api_key_env) and self._url == DEFAULT_BASE_URL:
            raise ConfigError(
                f"the agent's model {model!r} needs a key: set {api_key_env}, or OPENAI_BASE_URL for an endpoint of "
                "your own, or choose the rule planner with --llm none"
            )

    async def reflect(self, view: View) -> Thought:
        """See `planner.Planner.reflect`."""
        prompt = prompts.reflection(view)
        answer = await self._ask(prompt)
        return Thought(answer.text.strip(), view.evidence.as_dict(), prompt, answer.text, answer.spend)

    async def propose(self, view: View, guideline: str, count: int, refused: Sequence[Refused]) -> Plan:
        """See `planner.Planner.propose`. An unreadable reply is a plan without proposals, whose text says why."""
        prompt = prompts.proposal(view, guideline, count, refused)
        answer = await self._ask(prompt, schema=prompts.schema(view.space, count))
        try:
            proposals = _read(answer.text, view)
            text = "\n".join(f"{p.allocation}: {p.rationale}" for p in proposals)
        except ParseError as error:
            proposals, text = [], f"unreadable reply: {error}"
        return Plan(proposals, Thought(text, None, prompt, answer.text, answer.spend))

    async def _ask(self, prompt: str, *, schema: dict[str, Any] | None = None) -> _Answer:
        from openai import APIStatusError, OpenAIError

        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": "system", "content": prompts.SYSTEM}, {"role": "user", "content": prompt}],
        }
        if schema is not None and self._takes_schema:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "candidates", "strict": True, "schema": schema},
            }
        started = time.perf_counter()
        client = openai_client(self._url, self._key_env, timeout_s=_TIMEOUT_S, max_retries=_MAX_RETRIES)
        try:
            completion = await client.chat.completions.create(**body)
        except APIStatusError as error:
            if "response_format" in body and error.status_code in (400, 422):
                self._takes_schema = False
                return await self._ask(prompt, schema=schema)
            where = f"the agent's model {self.name!r} at {shown_url(self._url)}"
            message = f"{where} answered {error.status_code}: {masked_reason(error, client.api_key)}"
            raise EndpointError(message, status=error.status_code) from error
        except (OpenAIError, ValueError) as error:
            where = f"the agent's model {self.name!r} at {shown_url(self._url)}"
            raise EndpointError(f"{where} did not answer: {type(error).__name__}") from error
        finally:
            await client.close()
        usage = completion.usage
        spend = Spend(
            requests=1,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            seconds=time.perf_counter() - started,
        )
        return _Answer(completion.choices[0].message.content or "" if completion.choices else "", spend)


def _read(reply: str, view: View) -> list[Proposal]:
    """Proposals in a reply, whatever stands around the JSON.

    Raises:
        ParseError: When there is no JSON of the asked form.
    """
    data = json_object(reply, SubtaskInput({}))
    try:
        candidates = _Reply.model_validate(data if "candidates" in data else {"candidates": [data]}).candidates
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ParseError(f"{where}: {first['msg']}") from error
    try:
        return [Proposal(_allocation(each, view), each.rationale) for each in candidates if each.allocation]
    except ConfigError as error:
        raise ParseError(str(error)) from error


def _allocation(candidate: _Candidate, view: View) -> Allocation:
    chosen = {name: (choice.model, choice.samples) for name, choice in candidate.allocation.items()}
    # Known subtasks in the pipeline's order; unknown ones stay, for the check to name them.
    names = [subtask.name for subtask in view.space.pipeline.subtasks]
    ordered = sorted(chosen, key=lambda name: (name not in names, names.index(name) if name in names else 0))
    return Allocation({name: chosen[name] for name in ordered})
