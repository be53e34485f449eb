"""Checking what was proposed: what is feasible, new and distinct is accepted, the rest goes back with its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from agenttts._util.text import bounded
from agenttts.space.allocation import Allocation
from agenttts.space.space import SearchSpace
from agenttts.study.trial import RULES, Archive, Proposal

MAX_REPAIRS = 2
"""How often rejected proposals go back to an LLM before others are filled in by rule."""

_SHOWN = 1000
_IN_VAIN, _ASKED_EVERY = 2, 4
"""Rounds in a row that rules had to fill, after which they carry on; and how often the LLM is asked then."""


class Rejected(NamedTuple):
    """A proposal that the check rejected, with the reasons."""

    proposal: Proposal
    reasons: Sequence[str]

    def __str__(self) -> str:
        return bounded(f"{self.proposal.allocation}: {'; '.join(self.reasons)}", _SHOWN)


@dataclass(frozen=True, kw_only=True)
class SoFar:
    """What a planner has proposed in one call so far, for it to mend."""

    accepted: Sequence[Proposal] = ()
    rejected: Sequence[Rejected] = ()
    reply: str = ""
    """Its last reply, where something of it could not be read."""
    fault: str = ""
    """What that was; empty where all could be read."""

    @property
    def keys(self) -> frozenset[str]:
        """Of what is not to be proposed again."""
        return frozenset(each.allocation.key for each in (*self.accepted, *(one.proposal for one in self.rejected)))


class Checked(NamedTuple):
    """What a check let through, and what it did not."""

    accepted: list[Proposal]
    rejected: list[Rejected]

    def __str__(self) -> str:
        return "\n".join([f"{len(self.accepted)} accepted", *map(str, self.rejected)])


@dataclass(frozen=True)
class Check:
    """Accepts at most `wanted` proposals for one call of a searcher."""

    archive: Archive
    space: SearchSpace
    wanted: int

    def __call__(self, accepted: Sequence[Proposal], pending: Iterable[Proposal]) -> Checked:
        """Check further proposals of a call.

        Args:
            accepted: Those that were accepted before.
            pending: Those to check; what is good but over the number wanted is left out without a word.
        """
        found = Checked(list(accepted), [])
        for proposal in pending:
            if reasons := self._faults(proposal.allocation, found.accepted):
                found.rejected.append(Rejected(proposal, reasons))
            elif len(found.accepted) < self.wanted:
                found.accepted.append(proposal)
        return found

    def _faults(self, allocation: Allocation, accepted: Sequence[Proposal]) -> list[str]:
        if allocation.key in self.archive.tried:
            return ["it has been tried already"]
        if any(proposal.allocation == allocation for proposal in accepted):
            return ["it is proposed twice"]
        return self.space.faults(allocation)


def filled(proposals: Iterable[Proposal], why: str) -> list[Proposal]:
    """Proposals that a rule makes where an LLM proposed nothing usable, marked as such."""
    return [
        Proposal(each.allocation, ": ".join(filter(None, (why, each.rationale))), searcher=RULES) for each in proposals
    ]


def resting(archive: Archive) -> str:
    """Why an LLM is not asked in this round; empty where it is."""
    by_rule: dict[int, bool] = {}
    for trial in archive.trials:
        by_rule[trial.round] = by_rule.get(trial.round, True) and trial.searcher == RULES
    in_vain = len(list(takewhile(lambda number: by_rule[number], sorted(by_rule, reverse=True))))
    if in_vain < _IN_VAIN or in_vain % _ASKED_EVERY == 0:
        return ""
    return f"as the planner gave nothing usable in the last rounds; it is asked again every {_ASKED_EVERY} rounds"
