"""Reading what an LLM proposes, whatever stands around it.

What counts is the last JSON value that holds candidates: an idea that was dropped before it is not tried. It is read
candidate by candidate: the good ones are kept, of the others it is said what is wrong. Of a value that is broken or cut
off, what is whole is read; where nothing can be, what is nearly JSON is taken for it.

Candidates are known by what they hold, the names of subtasks above all, and not by where they lie: they may be wrapped,
as in the call of a tool, and named in other words. `stated` reads one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from agenttts._util.strict_json import Broken, json_values, loosened
from agenttts._util.text import MOST_KEPT, bounded, one_line
from agenttts.errors import ConfigError
from agenttts.llm.answers import without_thoughts
from agenttts.proposals.stated import Stated, entry, unwrapped
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.study.trial import Proposal

_MOST_PROPOSALS = 200
"""What a reply holds beyond that is not looked at."""
_SHOWN_FAULT = 300
_MOST_LEVELS = 5
"""In which candidates, and notes, may be wrapped."""
_A_SENTENCE = 3
"""Words."""
_IN_PART = "the JSON is broken or cut off: what is whole of it was read"


class ReadCandidates(NamedTuple):
    """What could be read of a reply."""

    proposals: list[Proposal]
    """They may well be infeasible."""
    faults: list[str]
    """What could not be read, each in a sentence; at least one where there are no proposals."""


def read_candidates(reply: str, space: SearchSpace, shortlist: Sequence[Allocation] = ()) -> ReadCandidates:
    """The proposals in a reply, and what of it could not be read.

    Args:
        reply: What the model said.
        space: What is searched.
        shortlist: Allocations that it may name by their numbers, which begin with 1.
    """
    stated = Stated(space.pipeline.subtasks, shortlist)
    found, fault = None, ""
    for values in _readings(reply):
        found, why = _candidates(values, stated)
        fault = why if found is not None else fault or why
        if found is not None:
            break
    if found is None:
        longer = f" within its first {MOST_KEPT:,} characters: keep it shorter" if len(reply) >= MOST_KEPT else ""
        return ReadCandidates([], [f"{fault}{longer}"])
    proposals, faults = [], [fault] if fault else []
    for number, each in enumerate(found[:_MOST_PROPOSALS]):
        try:
            if (proposal := stated.proposal(each)) is not None:
                proposals.append(proposal)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, ("candidates", number, *first["loc"])))
            faults.append(bounded(one_line(f"{where}: {first['msg']}"), _SHOWN_FAULT))
        except ConfigError as error:
            faults.append(bounded(one_line(f"candidates.{number}: {error}"), _SHOWN_FAULT))
    return ReadCandidates(proposals, faults if proposals or faults else ["it holds no candidate"])


def read_notes(reply: str) -> str:
    """What a reply says under "notes"; empty where it says nothing there."""
    for values in _readings(reply):
        said = [told for value in values for each in _within(value) if (told := entry(each, "notes"))]
        if said:
            last = said[-1]
            return " ".join(map(str, last)).strip() if isinstance(last, list) else str(last).strip()
    return ""


def read_words(reply: str) -> str:
    """A reply in plain words: where it comes as JSON, its longest text of some words; empty where it has none."""
    text = without_thoughts(reply[:MOST_KEPT]).strip()
    if not text.removeprefix("```json").strip("` \n").startswith("{"):
        return text
    held = (part for value in json_values(text) for each in _within(value) for part in _parts(each))
    sentences = (part.strip() for part in held if isinstance(part, str) and len(part.split()) >= _A_SENTENCE)
    return max(sentences, key=len, default="")


def _readings(reply: str) -> Iterator[list[Any]]:
    """The JSON values of a reply; then, where that makes any difference, with what is nearly JSON."""
    text = without_thoughts(reply[:MOST_KEPT])
    yield json_values(text)
    if (loose := loosened(text)) != text:
        yield json_values(loose)


def _candidates(values: list[Any], stated: Stated) -> tuple[list[Any] | None, str]:
    """Those of the last value that holds some, None where none does; and what is wrong with it."""
    listed, fault = None, ""
    nothing = "no candidates in its JSON" if values else "no JSON object"
    loose: list[Any] = []
    for value in values:
        if isinstance(value, Broken):
            fault = fault or f"no usable JSON object: {value.why}"
        elif stated.is_candidate(value) and not isinstance(entry(value, "candidates"), list):
            loose = [*loose, value] if fault else [value]
        elif (found := next(filter(None, (_listed(each, stated) for each in _within(value))), None)) is not None:
            listed, loose, fault = found, [], ""
        elif isinstance(entry(value, "candidates"), list):
            listed, loose, fault = [], [], ""
    if loose:
        return loose, fault and _IN_PART
    return listed, (fault or nothing) if listed is None else ""


def _listed(value: Any, stated: Stated) -> list[Any] | None:
    """The candidates that a value lists itself; None where it lists none."""
    given = entry(value, "candidates")
    if isinstance(given, list):
        return given
    if stated.is_candidate(given):
        return [given]
    if isinstance(value, list):
        return value if any(map(stated.is_candidate, value)) else None
    return [each for each in _parts(value) if stated.is_candidate(each)] or None


def _within(value: Any) -> Iterator[Any]:
    """The value, and what it wraps, the outer first."""
    level = [unwrapped(value)]
    for _ in range(_MOST_LEVELS):
        yield from level
        inner = islice((each for outer in level for each in _parts(outer)), _MOST_PROPOSALS)
        level = [each for each in map(unwrapped, inner) if isinstance(each, dict | list)]


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
