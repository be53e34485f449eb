"""What the LLM-driven baselines share: a chat model proposes, and whatever it proposes is checked.

What is infeasible, tried or unreadable goes back to the model with the reasons, a bounded number of times; what is
still missing then, or where the endpoint fails, is drawn uniformly, by rule, and says so. After two such rounds in a
row the model rests, and is asked again every fourth. Every step is journaled like the agent's. A searcher keeps nothing
between calls: guidelines are read from the archive, and one that was written in the round that a killed search had
reached is used, not asked for again.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from agenttts._util.numbers import Scale
from agenttts.baselines.random import RandomSearcher
from agenttts.llm.chat import ChatModel, Unanswered
from agenttts.llm.samples import Spend
from agenttts.proposals import dialogue
from agenttts.proposals.checking import MAX_REPAIRS, Check, Checked, SoFar, filled, resting
from agenttts.protocols import Searcher
from agenttts.space import SearchSpace
from agenttts.study.trial import RULES, AgentStep, Archive, Proposal, Trial

_log = logging.getLogger(__name__)


class LLMSearcher(Searcher):
    """Asks a chat model for allocations.

    Args:
        planner: The chat model; the paper's (`chat.DEFAULT_MODEL`) when None.
        seed: Of what is drawn where the model gives nothing usable.

    Raises:
        ConfigError: When OpenAI's endpoint is meant and the key is not set.
    """

    needs_llm = may_ask_llm = True
    guided = False
    """Whether the model is shown guidelines and trials."""

    def __init__(self, planner: ChatModel | None = None, *, seed: int = 0) -> None:
        self.planner = planner or ChatModel()
        self._seed = seed

    @property
    def title(self) -> str:
        """The method, and the model that it asks."""
        return f"{self.name}-{self.planner.name}"

    async def __aenter__(self) -> Self:
        """Make sure that the model can be asked, before anything is paid for."""
        await self.planner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.planner.__aexit__(kind, error, trace)

    async def propose(self, archive: Archive, space: SearchSpace, count: int) -> list[Proposal]:
        """See `protocols.Searcher.propose`."""
        drawn = await RandomSearcher(seed=self._seed).propose(archive, space, count)
        if not drawn:
            return []
        call = _Call(Check(archive, space, wanted=len(drawn)))
        why = resting(archive) or await self._asked(call)
        return call.accepted + self._filled(call, drawn, why)

    async def _asked(self, call: _Call) -> str:
        """Ask until nothing is missing; why something still is, where it is."""
        try:
            briefing = await self._briefing(call.check.archive, call.check.space)
            for node in ("propose", *["repair"] * MAX_REPAIRS):
                if call.missing:
                    await self._ask(node, briefing, call)
        except Unanswered as error:
            _log.warning("rules carry on, as the planner gave no answer: %s", error)
            return f"as {self.planner.name} gave no answer"
        why = f"as the proposals of {self.planner.name} were rejected or unreadable"
        if call.missing:
            _log.warning("rules carry on, %s", why)
        return why

    @abstractmethod
    async def _briefing(self, archive: Archive, space: SearchSpace) -> str:
        """What the model is told before it is asked for allocations."""

    async def _ask(self, node: str, briefing: str, call: _Call) -> None:
        """Ask for what is missing, and check what comes."""
        archive, space = call.check.archive, call.check.space
        request = dialogue.allocation_request(space, call.missing, call.so_far, guided=self.guided)
        prompt = f"{briefing}\n\n{request}"
        with self._charged(archive, node, prompt):
            reply = await dialogue.ask_for_allocations(self.planner, prompt, space)
        answer = reply.answer
        self._record(archive, node, reply.text, prompt=prompt, reply=answer.text, spend=answer.spend)
        self._record(archive, "check", str(call.take(reply)))

    def _filled(self, call: _Call, drawn: Sequence[Proposal], why: str) -> list[Proposal]:
        """What is missing, by rule."""
        if not call.missing:
            return []
        accepted = {proposal.allocation for proposal in call.accepted}
        fresh = [Proposal(each.allocation) for each in drawn if each.allocation not in accepted]
        by_rule = filled(fresh[: call.missing], f"filled in by rule, drawn uniformly, {why}")
        self._record(call.check.archive, "fill", "\n".join(str(proposal.allocation) for proposal in by_rule))
        return by_rule

    @contextmanager
    def _charged(self, archive: Archive, node: str, prompt: str) -> Iterator[None]:
        """Journal what a question took that got no answer."""
        try:
            yield
        except Unanswered as error:
            self._record(archive, f"{node}, in vain", str(error), prompt=prompt, spend=error.spend)
            raise

    def _record(
        self, archive: Archive, node: str, text: str, *, prompt: str = "", reply: str = "", spend: Spend | None = None
    ) -> None:
        """Journal a step; one without a prompt was taken by rule."""
        step = AgentStep(
            round=archive.round,
            node=node,
            planner=self.planner.name if prompt else RULES,
            text=text,
            prompt=prompt,
            reply=reply,
            spend=spend or Spend(),
        )
        if self.journal is not None:
            self.journal(step)


@dataclass
class _Call:
    """What a model has proposed for one call."""

    check: Check
    so_far: SoFar = field(default_factory=SoFar)

    @property
    def accepted(self) -> list[Proposal]:
        return list(self.so_far.accepted)

    @property
    def missing(self) -> int:
        return self.check.wanted - len(self.so_far.accepted)

    def take(self, reply: dialogue.ReadReply) -> Checked:
        """Sort a reply's proposals."""
        checked = self.check(self.so_far.accepted, reply.proposals)
        rejected = (*self.so_far.rejected, *checked.rejected)
        self.so_far = SoFar(accepted=checked.accepted, rejected=rejected, reply=reply.answer.text, fault=reply.fault)
        return checked


class GuidedSearcher(LLMSearcher):
    """Guideline and trials in turn: the model first writes what it has learned, then proposes by it.

    The prompt for allocations shows every trial, and of the guidelines the first and the last two, as the paper's code
    does.
    """

    guided = True

    @abstractmethod
    def _reflection(self, archive: Archive, space: SearchSpace) -> str:
        """The prompt that asks for a guideline."""

    async def _briefing(self, archive: Archive, space: SearchSpace) -> str:
        texts = [guideline.text for guideline in archive.guidelines]
        if not archive.guidelines or archive.guidelines[-1].round != archive.round:
            texts.append(await self._guideline(archive, space))
        trials = shown_trials("Trials so far", archive.trials, space.scale)
        return "\n\n".join([dialogue.task(space), trials, "Guidelines:", *texts[:1], *texts[1:][-2:]])

    async def _guideline(self, archive: Archive, space: SearchSpace) -> str:
        prompt = self._reflection(archive, space)
        with self._charged(archive, "reflect", prompt):
            answer = await self.planner.ask(prompt, system=dialogue.SYSTEM)
        text = answer.text.strip() or f"no guideline: {answer.fault}"
        self._record(archive, "reflect", text, prompt=prompt, reply=answer.text, spend=answer.spend)
        return text


def history(archive: Archive, scale: Scale) -> str:
    """Every trial, those of the time before the last guideline apart from those since."""
    known = archive.guidelines[-1].round if archive.guidelines else 0
    parts = [shown_trials("Trials before the last guideline", archive.trials[:known], scale)] if known else []
    since = shown_trials("Trials since" if known else "Trials so far", archive.trials[known:], scale)
    return "\n\n".join([*parts, since])


def shown_trials(heading: str, trials: Sequence[Trial], scale: Scale) -> str:
    if not trials:
        return f"{heading}: none."
    lines = [dialogue.trial_line(trial, scale, interval=False) for trial in trials]
    return "\n".join([f"{heading}: allocation | cost | score", *lines])
