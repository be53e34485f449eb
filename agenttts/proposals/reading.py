"""Reading what an LLM proposes, whatever stands around it.

What counts is the last JSON value that holds candidates: an idea that was dropped before it is not tried. It is read
candidate by candidate: the good ones are kept, of the others it is said what is wrong. Of a value that is broken or cut
off, what is whole is read. Names may be of another case, a choice may be short ("small x4"), and so may an allocation
("find: small x4, answer: large x1"), or the number of one in a list that the model was shown; the wrapping may be
missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from agenttts._util.strict_json import Broken, json_values
from agenttts._util.text import MOST_KEPT, bounded
from agenttts.errors import ConfigError
from agenttts.llm.answers import without_thoughts
from agenttts.pipeline import Subtask
from agenttts.pipeline.pairing import parted, write_options
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation, Choice
from agenttts.study.trial import Proposal

_MOST_PROPOSALS = 200
"""What a reply holds beyond that is not looked at."""
_SHOWN_FAULT = 300
_MOST_SAMPLES = 10**9
"""A reply with more samples than any budget allows is unreadable, not a number to reckon with."""
_NUMBER = re.compile(r"\s*#?(\d{1,6})\.?\s*")
_COUNT = re.compile(r"\s*[x×*]?\s*(\d+)\s*[x×*]?\s*")
_SHORT = re.compile(r"(.+?)\s*[x×*]\s*(\d+)\b(.*)", re.S)
"""A choice as it is printed: model, number of samples, and what is chosen beside them."""


class ReadCandidates(NamedTuple):
    """What could be read of a reply."""

    proposals: list[Proposal]
    """They may well be infeasible."""
    faults: list[str]
    """What could not be read, each in a sentence."""


class _ReplyChoice(BaseModel):
    model: str
    samples: int = Field(ge=1, le=_MOST_SAMPLES)
    operator: str = ""
    options: dict[str, bool | int | float | str] = {}

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, str) or not (found := _SHORT.fullmatch(given.strip())):
            return given
        model, operator, options = parted(found[1] + found[3])
        chosen = dict(part.split("=", 1) for part in options.split(",") if "=" in part)
        return {"model": model, "samples": found[2], "operator": operator, "options": chosen}

    @field_validator("samples", mode="before")
    @classmethod
    def _counted(cls, given: Any) -> Any:
        found = _COUNT.fullmatch(given) if isinstance(given, str) and len(given) < _SHOWN_FAULT else None
        return found[1] if found else given


class _ReplyCandidate(BaseModel):
    rationale: str = ""
    allocation: dict[str, _ReplyChoice]


def read_candidates(reply: str, space: SearchSpace, shortlist: Sequence[Allocation] = ()) -> ReadCandidates:
    """The proposals in a reply, and what of it could not be read.

    Args:
        reply: What the model said.
        space: What is searched.
        shortlist: Allocations that it may name by their numbers, which begin with 1.
    """
    text = without_thoughts(reply[:MOST_KEPT])
    subtasks = {subtask.name: subtask for subtask in space.pipeline.subtasks}
    found, fault = _candidates(json_values(text), subtasks)
    faults = [fault] if fault else []
    if found is None:
        longer = f" within its first {MOST_KEPT:,} characters: keep it shorter" if len(reply) >= MOST_KEPT else ""
        return ReadCandidates([], [f"{fault or 'no JSON object'}{longer}"])
    proposals = []
    for number, each in enumerate(found[:_MOST_PROPOSALS]):
        try:
            if (proposal := _picked(each, shortlist) or _proposal(each, subtasks)) is not None:
                proposals.append(proposal)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, ("candidates", number, *first["loc"])))
            faults.append(bounded(f"{where}: {first['msg']}", _SHOWN_FAULT))
        except ConfigError as error:
            faults.append(bounded(f"candidates.{number}: {error}", _SHOWN_FAULT))
    return ReadCandidates(proposals, faults)


def read_notes(reply: str) -> str:
    """What a reply says under "notes"; empty where it says nothing there."""
    values = json_values(without_thoughts(reply[:MOST_KEPT]))
    said = [value["notes"] for value in values if isinstance(value, dict) and isinstance(value.get("notes"), str)]
    return said[-1].strip() if said else ""


def _picked(given: Any, shortlist: Sequence[Allocation]) -> Proposal | None:
    """The one of the shortlist that a candidate names by its number; None where it names none so.

    Raises:
        ConfigError: When the shortlist has no such number.
    """
    named, rationale = given, ""
    if isinstance(given, dict):
        if given.get("allocation"):
            return None
        named, rationale = given.get("number"), given.get("rationale", "")
    if not shortlist or type(named) not in (int, str) or not (found := _NUMBER.fullmatch(str(named))):
        return None
    number = int(found[1])
    if not 1 <= number <= len(shortlist):
        raise ConfigError(f"the shortlist has the numbers 1 to {len(shortlist)}, and no {number}")
    return Proposal(shortlist[number - 1], rationale if isinstance(rationale, str) else "")


def _candidates(values: list[Any], subtasks: Mapping[str, Subtask]) -> tuple[list[Any] | None, str]:
    """Those of the last value that holds some, None where none does; and what is wrong with it."""
    listed, fault = None, ""
    loose: list[Any] = []
    for value in values:
        if isinstance(value, Broken):
            fault = fault or f"no usable JSON object: {value.why}"
        elif (found := _listed(value, subtasks)) is not None:
            listed, loose, fault = found, [], ""
        elif _is_candidate(value, subtasks):
            loose = [*loose, value] if fault else [value]
    if loose:
        return loose, fault and "the JSON is broken or cut off: what is whole of it was read"
    return listed, fault if listed is None else ""


def _listed(value: Any, subtasks: Mapping[str, Subtask]) -> list[Any] | None:
    """The candidates that a value lists; None where it lists none."""
    if isinstance(value, dict):
        if "candidates" in value:
            given = value["candidates"]
            return given if isinstance(given, list) else [given]
        lists = [each for each in value.values() if isinstance(each, list)]
        return next((each for each in lists if any(_is_candidate(one, subtasks) for one in each)), None)
    return value if isinstance(value, list) and any(_is_candidate(each, subtasks) for each in value) else None


def _is_candidate(value: Any, subtasks: Mapping[str, Subtask]) -> bool:
    if isinstance(value, str):
        return bool(_split(value, subtasks))
    named = ("allocation", "number")
    return isinstance(value, dict) and any(name in named or _known(name, subtasks) for name in value)


def _split(text: str, subtasks: Mapping[str, Subtask]) -> dict[str, str]:
    """Subtask -> choice of an allocation as it is printed; empty where it is none."""
    names = "|".join(map(re.escape, subtasks))
    parts = re.split(rf"(?:^|[,;\n])\s*({names})\s*[:=]\s*", text[:MOST_KEPT], flags=re.I)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def _proposal(given: Any, subtasks: Mapping[str, Subtask]) -> Proposal | None:
    """One candidate; None where it chooses nothing."""
    if isinstance(given, str) or (isinstance(given, dict) and "allocation" not in given):
        given = {"allocation": given}
    if isinstance(given, dict) and isinstance(text := given["allocation"], str):
        given = {**given, "allocation": _split(text, subtasks) or text}
    read = _ReplyCandidate.model_validate(given)
    if not read.allocation:
        return None
    chosen = {}
    for name, choice in read.allocation.items():
        known = _known(name, subtasks) or name
        chosen[known] = _choice(choice, subtasks.get(known))
    # Known subtasks in the pipeline's order; unknown ones stay, for the check to name them.
    order = [name for name in subtasks if name in chosen] + [name for name in chosen if name not in subtasks]
    return Proposal(Allocation({name: chosen[name] for name in order}), read.rationale)


def _choice(choice: _ReplyChoice, subtask: Subtask | None) -> Choice:
    """A choice as allocations write it: what is first of its kind goes unnamed."""
    operators = [pairing.operator.name for pairing in subtask.pairings] if subtask else []
    models = [model.name for model in subtask.models] if subtask else []
    operator = _known(choice.operator, operators) or choice.operator
    options = write_options(subtask.options if subtask else {}, choice.options)
    first = operators[0] if operators else ""
    return Choice(
        _known(choice.model, models) or choice.model, choice.samples, "" if operator == first else operator, options
    )


def _known(name: str, names: Iterable[str]) -> str:
    """The name of these that is meant: the same one, else the one of another case; empty where there is none."""
    listed = list(names)
    if name in listed:
        return name
    alike = [each for each in listed if each.casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else ""
