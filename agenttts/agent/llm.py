"""A planner that asks a chat model: the paper's agent proper, on any OpenAI-compatible endpoint.

The model sees what the paper's prompts show (subtasks, models and lengths, the cost, the history, the guidelines) and
beside it the same evidence that the rule planner acts on. Replies are asked for as JSON by schema where the server
can, and read tolerantly where it cannot; whatever it proposes passes the same check as every proposal.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from agenttts.agent import prompts
from agenttts.agent.planner import PlannedProposals, Thought, View
from agenttts.llm.chat import DEFAULT_MODEL, TIMEOUT_S, ChatModel, Unanswered
from agenttts.proposals.checking import SoFar
from agenttts.proposals.dialogue import SYSTEM, ask_for_allocations

_log = logging.getLogger(__name__)


class LLMPlanner:
    """Guidelines and proposals from a chat model.

    Examples:
        >>> planner = at.LLMPlanner("qwen3-32b", base_url="http://localhost:8000/v1")
        >>> at.AgentSearcher(planner).title
        'agent-qwen3-32b'

    Args:
        model: Its name at the endpoint; the paper's search model by default.
        base_url: The endpoint; the environment variable OPENAI_BASE_URL, or OpenAI's own, when None.
        api_key_env: Environment variable that holds the key; when None as for `Model.api_key_env`.
        headers: Further headers of every request -> the environment variable that holds the value, as `Model.headers`.
        timeout_s: Seconds that one reply may take.

    Raises:
        ConfigError: When a key, or the value of a header, is needed and not set.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.name = model
        self._model = ChatModel(model, base_url=base_url, api_key_env=api_key_env, headers=headers, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        """Make sure that the model can be asked, before anything is paid for."""
        await self._model.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._model.__aexit__(kind, error, trace)

    async def reflect(self, view: View) -> Thought:
        """See `planner.Planner.reflect`."""
        prompt = prompts.reflection(view)
        try:
            answer = await self._model.ask(prompt, system=SYSTEM)
        except Unanswered as error:
            return self._unanswered(prompt, error)
        text = answer.text.strip()
        if not text:
            self._tell(answer.fault)
        return Thought(text, view.evidence.as_dict(), prompt, answer.text, answer.spend, "" if text else answer.fault)

    async def propose(self, view: View, guideline: str, count: int, so_far: SoFar) -> PlannedProposals:
        """See `planner.Planner.propose`. An unreadable reply is a plan without proposals, whose text says why."""
        prompt = prompts.proposal(view, guideline, count, so_far)
        try:
            reply = await ask_for_allocations(self._model, prompt, view.space)
        except Unanswered as error:
            return PlannedProposals([], self._unanswered(prompt, error))
        if reply.fault:
            self._tell(reply.fault)
        answer = reply.answer
        return PlannedProposals(
            reply.proposals, Thought(reply.text, None, prompt, answer.text, answer.spend, reply.fault)
        )

    def _unanswered(self, prompt: str, error: Unanswered) -> Thought:
        self._tell(str(error))
        return Thought(f"no answer: {error}", None, prompt, "", error.spend, str(error), failed=True)

    def _tell(self, fault: str) -> None:
        _log.warning("the reply of the planner's model %r: %s", self.name, fault)
