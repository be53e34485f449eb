"""A planner that asks a chat model: the paper's agent proper, on any OpenAI-compatible endpoint.

The model sees what the paper's prompts show (subtasks, models and lengths, the cost, the history, the guidelines) and
beside it the same evidence that the rule planner acts on. Replies are asked for as JSON by schema where the server
can, and read tolerantly where it cannot; whatever it proposes passes the same check as every proposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from agenttts.agent import prompts
from agenttts.agent.planner import PlannedProposals, Thought, View
from agenttts.llm.chat import DEFAULT_MODEL, ChatModel
from agenttts.proposals.checking import Rejected
from agenttts.proposals.dialogue import SYSTEM, ask_for_allocations


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
    ) -> None:
        self.name = model
        self._model = ChatModel(model, base_url=base_url, api_key_env=api_key_env, headers=headers)

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
        answer = await self._model.ask(prompt, system=SYSTEM)
        return Thought(answer.text.strip(), view.evidence.as_dict(), prompt, answer.text, answer.spend)

    async def propose(self, view: View, guideline: str, count: int, rejected: Sequence[Rejected]) -> PlannedProposals:
        """See `planner.Planner.propose`. An unreadable reply is a plan without proposals, whose text says why."""
        prompt = prompts.proposal(view, guideline, count, rejected)
        reply = await ask_for_allocations(self._model, prompt, view.space)
        return PlannedProposals(
            reply.proposals, Thought(reply.text, None, prompt, reply.answer.text, reply.answer.spend)
        )
