"""One candidate, as LLMs state it: by the number of the shortlist, or choice by choice in one of many forms.

- A choice may be `{"model": "m", "samples": 4}`, its fields of another case or kind ("n", "num_samples"), `{"m": 4}`,
  `["m", 4]`, or text: "m x4 by revise(width=1)", "4x m", "m, 4 samples".
- An allocation may be an object by subtask, a list of choices that name theirs or come in order, or text:
  "find: m x4, answer: l x1", or a row as the prompts have them, "m x4 | l x1 | 99 units".
- A name may be of another case, have other spaces, or its size after it: "Small (8B)".

Fields that are null are as good as left out, and so is what stands beside the choices: a cost, a reason.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator

from agenttts._util.strict_json import json_values
from agenttts.errors import ConfigError
from agenttts.pipeline import Subtask
from agenttts.pipeline.pairing import parted, write_options
from agenttts.space.allocation import Allocation, Choice
from agenttts.study.trial import Proposal

_MOST_SAMPLES = 10**9
"""A reply with more samples than any budget allows is unreadable, not a number to reckon with."""
_MOST_OF_A_CHOICE, _MOST_OF_AN_ALLOCATION = 300, 2000
"""Characters of one that is a text."""
_NUMBER = re.compile(r"\s*#?(\d{1,6})\.?\s*")
_NUMBERED = re.compile(r"\s*#?\d{1,6}\.\s+")
_COUNT = re.compile(r"\s*[x×*]?\s*(\d+)\s*(?:[x×*]|samples?)?\s*")
_CHOICES = (
    re.compile(r"(?P<model>.+?)\s*[x×*]\s*(?P<samples>\d+)\b(?P<more>.*)", re.S),
    re.compile(r"(?P<samples>\d+)\s*[x×*]\s*(?P<model>\S+)(?P<more>.*)", re.S),
    re.compile(r"(?P<model>\S+?)(?:\s+with)?[\s,:@(]+(?P<samples>\d+)(?:\s*samples?)?\s*\)?(?P<more>)"),
)
"""A choice as text: as it is printed, with what is chosen beside model and samples, or in other words."""
_OTHER_NUMBER = re.compile(r"id|no|index|candidate|choice|option")
_SAMPLES, _MODEL = re.compile(r"sample|count|^n$"), re.compile(r"model|^name$")
"""What else the fields "number" of a candidate, "samples" and "model" of a choice are called."""
_HIDDEN = re.compile(r"[\u200b-\u200f\u2060\ufeff]")
_SPACES, _ASIDE = re.compile(r"[\s_-]+"), re.compile(r"\s*\(.*\)$", re.S)


class _ReplyChoice(BaseModel, extra="allow"):
    """What is more may be an option."""

    model: str
    samples: int = Field(ge=1, le=_MOST_SAMPLES)
    operator: str = ""
    options: dict[str, bool | int | float | str] = {}

    @model_validator(mode="before")
    @classmethod
    def _meant(cls, given: Any) -> Any:
        if isinstance(given, list) and all(isinstance(each, str | int) for each in given):
            given = " ".join(map(str, given))
        if isinstance(given, str):
            return _in_words(given) or given
        if not isinstance(given, dict):
            return given
        if _by_model(given):
            given = dict(zip(("model", "samples"), *given.items(), strict=True))
        fields = {name.casefold(): value for name, value in _given(given).items()}
        for field, called in (("samples", _SAMPLES), ("model", _MODEL)):
            other = next((name for name in fields if called.search(name)), field)
            fields.setdefault(field, fields.get(other))
        if isinstance(model := fields.pop("model"), str):
            return _pairing(model) | _given(fields)
        return {"model": model, **_given(fields)}

    @field_validator("options", mode="before")
    @classmethod
    def _set(cls, given: Any) -> Any:
        if isinstance(given, str):
            return _settings(given)
        return _given(given) if isinstance(given, dict) else given

    @field_validator("samples", mode="before")
    @classmethod
    def _count(cls, given: Any) -> Any:
        return str(given) if isinstance(given, bool) else given if (count := _counted(given)) is None else count


class _ReplyCandidate(BaseModel):
    rationale: str = ""
    allocation: dict[str, _ReplyChoice]

    @field_validator("rationale", mode="before")
    @classmethod
    def _said(cls, given: Any) -> str:
        return " ".join(map(str, given)) if isinstance(given, list) else "" if given is None else str(given)


class Stated:
    """Reads candidates for the subtasks of a pipeline.

    Args:
        subtasks: In their order.
        shortlist: Allocations that may be named by their numbers, which begin with 1.
    """

    def __init__(self, subtasks: Sequence[Subtask], shortlist: Sequence[Allocation]) -> None:
        self._subtasks = {subtask.name: subtask for subtask in subtasks}
        self._shortlist = shortlist

    def is_candidate(self, value: Any) -> bool:
        """Whether a value, by what it holds, is meant as one."""
        if isinstance(value, dict):
            named = entry(value, "allocation") is not None or entry(value, "number") is not None
            return named or self._choices(value) is not None or self._chosen_in(value) is not None
        return isinstance(value, str) and self._choices(value) is not None

    def proposal(self, given: Any) -> Proposal | None:
        """What a candidate proposes; None where it chooses nothing.

        Raises:
            ValidationError: When a choice cannot be read.
            ConfigError: When the shortlist has no such number, or on a name that no allocation can hold.
        """
        chosen = self._choices(given)
        if chosen is None and isinstance(given, dict):
            chosen = self._chosen_in(given)
        rationale = entry(given, "rationale") or entry(given, "reason")
        if not chosen and (picked := self._picked(given)) is not None:
            return Proposal(picked, rationale if isinstance(rationale, str) else "")
        if chosen is None:
            chosen = entry(given, "allocation") if isinstance(given, dict) and entry(given, "allocation") else given
        read = _ReplyCandidate.model_validate({"allocation": chosen, "rationale": rationale})
        return Proposal(self._allocation(read.allocation), read.rationale) if read.allocation else None

    def _picked(self, given: Any) -> Allocation | None:
        """The one of the shortlist that is named by its number; None where none is named so.

        Raises:
            ConfigError: When the shortlist has no such number.
        """
        named = given
        if isinstance(given, dict):
            other = next((value for name, value in given.items() if _OTHER_NUMBER.fullmatch(name.casefold())), None)
            named = other if entry(given, "number") is None else entry(given, "number")
        named = int(named) if isinstance(named, float) and named.is_integer() else named
        if not self._shortlist or type(named) not in (int, str) or not (found := _NUMBER.fullmatch(str(named))):
            return None
        number = int(found[1])
        if not 1 <= number <= len(self._shortlist):
            raise ConfigError(f"the shortlist has the numbers 1 to {len(self._shortlist)}, and no {number}")
        return self._shortlist[number - 1]

    def _chosen_in(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Subtask -> choice of what a candidate holds under whatever name."""
        others = (value for value in given.values() if isinstance(value, dict | list))
        found = map(self._choices, (entry(given, "allocation"), *others))
        return next((each for each in found if each is not None), None)

    def _choices(self, given: Any) -> dict[str, Any] | None:
        """Subtask -> choice of an allocation in any form; None where it is none."""
        given = unwrapped(given)
        if isinstance(given, str):
            given = given[:_MOST_OF_AN_ALLOCATION]
            return self._printed(given) or self._in_order(_NUMBERED.sub("", given, count=1).split("|"))
        if isinstance(given, list):
            return self._named(given) or self._in_order(given)
        if not isinstance(given, dict) or not any(map(self._known, given)):
            return None
        return {self._known(name) or name: each for name, each in given.items() if self._known(name) or _chooses(each)}

    def _printed(self, text: str) -> dict[str, Any] | None:
        names = "|".join(map(re.escape, self._subtasks))
        parts = re.split(rf"(?:^|[,;\n])\s*({names})\s*[:=]\s*", text, flags=re.I)
        return {self._known(name): each.strip() for name, each in zip(parts[1::2], parts[2::2], strict=True)} or None

    def _named(self, given: Sequence[Any]) -> dict[str, Any] | None:
        """Of a list of choices that each name their subtask, or are an object of it."""
        found: dict[str, Any] = {}
        for each in given:
            if not isinstance(each, dict):
                return None
            if len(each) == 1:
                found |= self._choices(each) or {}
            for field, value in each.items():
                if isinstance(value, str) and self._known(value) and "model" not in field.casefold():
                    found[self._known(value)] = {name: part for name, part in each.items() if name != field}
        return found or None

    def _in_order(self, given: Sequence[Any]) -> dict[str, Any] | None:
        """Of one choice for every subtask; what a row has behind them, its cost, is left out."""
        chosen = given[: len(self._subtasks)]
        whole = len(chosen) == len(self._subtasks) and all(map(_chooses, chosen))
        return dict(zip(self._subtasks, chosen, strict=True)) if whole else None

    def _known(self, name: str) -> str:
        return meant(name, self._subtasks)

    def _allocation(self, read: Mapping[str, _ReplyChoice]) -> Allocation:
        """Known subtasks in the pipeline's order; unknown ones stay, for the check to name them."""
        chosen = {name: _choice(choice, self._subtasks.get(name)) for name, choice in read.items()}
        order = [name for name in self._subtasks if name in chosen]
        return Allocation({name: chosen[name] for name in dict.fromkeys([*order, *chosen])})


def entry(given: Any, name: str) -> Any:
    """What an object holds under a name of whatever case; None where it holds nothing, or is none."""
    if not isinstance(given, dict):
        return None
    return given[name] if name in given else next((v for n, v in given.items() if n.casefold() == name), None)


def unwrapped(given: Any) -> Any:
    """What is in a text that is JSON in all, as the arguments of a call are; anything else as it is."""
    if isinstance(given, str) and given.strip()[:1] in ("{", "["):
        values = json_values(given)
        return values[0] if len(values) == 1 else given
    return given


def meant(name: str, names: Iterable[str]) -> str:
    """The name of these that is meant: the same one, else one that differs in case, spaces or width of its letters, or
    has no more after it than a remark in brackets; empty where there is none, or several.
    """
    listed = list(names)
    if name in listed:
        return name
    folded = {_folded(name), _folded(_ASIDE.sub("", name))}
    alike = [each for each in listed if _folded(each) in folded]
    return alike[0] if len(alike) == 1 else ""


def _folded(name: str) -> str:
    return _SPACES.sub("-", unicodedata.normalize("NFKC", _HIDDEN.sub("", name)).strip().casefold())


def _counted(given: Any) -> int | None:
    """A number of samples, alone or with a word of it; None where it is none."""
    if isinstance(given, bool) or not isinstance(given, str | int) or len(str(given)) > _MOST_OF_A_CHOICE:
        return None
    found = _COUNT.fullmatch(str(given))
    return int(found[1]) if found else None


def _in_words(text: str) -> dict[str, Any] | None:
    """A choice that is written in one text."""
    text = text.strip()
    if (
        len(text) > _MOST_OF_A_CHOICE
        or (found := next(filter(None, (f.fullmatch(text) for f in _CHOICES)), None)) is None
    ):
        return None
    return {"samples": found["samples"], **_pairing(found["model"] + found["more"])}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not null."""
    return {name: value for name, value in fields.items() if value is not None}


def _pairing(text: str) -> dict[str, Any]:
    """A model, with what is chosen beside it."""
    model, operator, options = parted(text)
    return {"model": model, "operator": operator, "options": _settings(options)}


def _settings(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _chooses(given: Any) -> bool:
    """Whether it is the choice of a subtask, known or not, by its form."""
    if isinstance(given, str):
        return "|" not in given and _in_words(given) is not None
    if isinstance(given, list):
        return len(given) > 1 and isinstance(given[0], str) and _counted(given[1]) is not None
    if not isinstance(given, dict):
        return False
    return _by_model(given) or any(_SAMPLES.search(name.casefold()) for name in given)


def _by_model(given: Mapping[str, Any]) -> bool:
    """Whether it is a number of samples under the name of a model."""
    return len(given) == 1 and all(_counted(count) for count in given.values()) and not entry(given, "samples")


def _choice(choice: _ReplyChoice, subtask: Subtask | None) -> Choice:
    """A choice as allocations write it: what is first of its kind goes unnamed."""
    operators = [pairing.operator.name for pairing in subtask.pairings] if subtask else []
    models = [model.name for model in subtask.models] if subtask else []
    operator = meant(choice.operator, dict.fromkeys(operators)) or choice.operator
    known = subtask.options if subtask else {}
    beside = {meant(name, known): value for name, value in (choice.model_extra or {}).items() if meant(name, known)}
    options = write_options(known, {**beside, **choice.options})
    first = operators[0] if operators else ""
    return Choice(
        meant(choice.model, models) or choice.model, choice.samples, "" if operator == first else operator, options
    )
