"""A planner that asks a chat model, on any OpenAI-compatible endpoint.

The model sees what the stages do, what choices cost, the trials, and the evidence that the rule planner acts on. One
reply holds its notes and its candidates, as JSON by schema where the server can, read tolerantly where it cannot;
whatever it proposes passes the same check as every proposal.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from agenttts._util.text import bounded
from agenttts.agent import prompts
from agenttts.agent.planner import RoundPlan, Situation, Thought, View
from agenttts.llm.chat import DEFAULT_MODEL, TIMEOUT_S, ChatModel, Unanswered
from agenttts.llm.pulse import GIVE_UP_AFTER_S
from agenttts.proposals.checking import SoFar
from agenttts.proposals.dialogue import SYSTEM, candidate_schema, faults_in_words, object_schema
from agenttts.proposals.reading import read_candidates, read_notes, read_words
from agenttts.protocols import FailedExample
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Trial

_MOST_EXPLAINED = 1500
"""Characters of an explanation that are kept."""

_log = logging.getLogger(__name__)


class LLMPlanner:
    """Asks a chat model at the start, on occasion, and at the end (see `planner.Adviser`).

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
        give_up_after_s: Seconds after which a question is given up of which no part of an answer has come.
        share_examples: Whether it is shown a few examples that the best trial fails, also where it is asked elsewhere
            than the pipeline's models.

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
        give_up_after_s: float = GIVE_UP_AFTER_S,
        share_examples: bool = False,
    ) -> None:
        self.name = model
        self._share_examples = share_examples
        self.model = ChatModel(
            model,
            base_url=base_url,
            api_key_env=api_key_env,
            headers=headers,
            timeout_s=timeout_s,
            give_up_after_s=give_up_after_s,
        )
        """What is asked."""

    async def __aenter__(self) -> Self:
        """Make sure that the model can be asked, before anything is paid for."""
        await self.model.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.model.__aexit__(kind, error, trace)

    async def begin(self, now: Situation, design: Sequence[Allocation], others: Sequence[Allocation]) -> RoundPlan:
        """See `planner.Adviser.begin`."""
        return await self._ask(prompts.beginning(now, design, others), now.space, others)

    async def plan(self, view: View, count: int, so_far: SoFar) -> RoundPlan:
        """See `planner.Planner.plan`. An unreadable reply is a plan without proposals, whose thought says why."""
        shortlist = view.ranking.best(prompts.SHORTLIST, so_far.keys)
        prompt, offered = prompts.planning(view, shortlist, count, so_far, self._failures(view))
        plan = await self._ask(prompt, view.space, [each.allocation for each in offered])
        return RoundPlan(plan.thought._replace(evidence=view.evidence.as_dict()), plan.proposals)

    async def explain(self, view: View, best: Trial) -> Thought:
        """See `planner.Adviser.explain`."""
        prompt = prompts.explanation(view, best)
        try:
            answer = await self.model.ask(prompt, system=SYSTEM)
        except Unanswered as error:
            return self._unanswered(prompt, error)
        if answer.fault:
            self._tell(answer.fault)
        text = bounded(read_words(answer.text), _MOST_EXPLAINED)
        return Thought(text, None, prompt, answer.text, answer.spend, answer.fault)

    def _failures(self, view: View) -> Sequence[FailedExample]:
        """Examples that the best trial fails, where they may be shown."""
        outlook, best = view.outlook, view.evidence.incumbent
        if outlook is None or not (self._share_examples or set(outlook.endpoints) == {self.model.endpoint}):
            return ()
        tried = [trial for trial in view.archive.trials if trial.allocation == best]
        return outlook.failures(tried[0], prompts.FAILURES, self.model.secrets) if tried else ()

    async def _ask(self, prompt: str, space: SearchSpace, shortlist: Sequence[Allocation]) -> RoundPlan:
        try:
            answer = await self.model.ask(prompt, system=SYSTEM, schema=_schema(space, len(shortlist)))
        except Unanswered as error:
            return RoundPlan(self._unanswered(prompt, error), [])
        proposals, faults = read_candidates(answer.text, space, shortlist)
        fault = faults_in_words(faults, answer, proposals)
        if fault:
            self._tell(fault)
        unread = "not all of the reply could be read" if proposals else "unreadable reply"
        text = "\n".join(filter(None, (_first_words(read_notes(answer.text)), f"{unread}: {fault}" if fault else "")))
        return RoundPlan(Thought(text, None, prompt, answer.text, answer.spend, fault), proposals)

    def _unanswered(self, prompt: str, error: Unanswered) -> Thought:
        self._tell(str(error))
        return Thought(f"no answer: {error}", None, prompt, "", error.spend, str(error), failed=True)

    def _tell(self, fault: str) -> None:
        _log.warning("the reply of the planner's model %r: %s", self.name, fault)


def _schema(space: SearchSpace, listed: int) -> dict[str, Any]:
    """Notes, and candidates by number or in full."""
    free, text = candidate_schema(space), {"type": "string"}
    by_number = object_schema({"rationale": text, "number": {"type": "integer", "minimum": 1, "maximum": listed}})
    items = {"anyOf": [by_number, free]} if listed else free
    return object_schema({"notes": text, "candidates": {"type": "array", "items": items}})


def _first_words(notes: str) -> str:
    """As many words as were asked for."""
    words = notes.split()
    return " ".join(words[: prompts.NOTE_WORDS]) + " ..." * (len(words) > prompts.NOTE_WORDS)
