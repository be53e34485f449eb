"""Allocations: which model each subtask gets, how many samples, and what is done with them."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agenttts.errors import ConfigError
from agenttts.pipeline.pairing import join_options, paired, parted, read_options

_CHOICE = re.compile(
    r"(?P<subtask>\w+)=(?P<model>[^*;]+)\*(?P<samples>\d+)(@(?P<operator>[^;?]+))?(\?(?P<options>[^;]+))?"
)
_NAME = re.compile(r"\w+")
_MODEL = re.compile(r"[^\s*;=,]+")
_OPERATOR = re.compile(r"[^\s*;@?]*")
_OPTIONS = re.compile(r"(\w+=[^\s*;@?=,]+(,\w+=[^\s*;@?=,]+)*)?")
_SHOWN = 100


@dataclass(frozen=True, order=True)
class Choice:
    """What one subtask gets: a model, a number of samples, an operator that turns them into its output, and how its
    options are set.

    Examples:
        >>> print(at.Choice("8b", 4))
        8b x4
        >>> print(at.Choice("8b", 4, "revise(width=2)"))
        8b x4 by revise(width=2)
        >>> print(at.Choice("8b", 4, options="passages=20"))
        8b x4 with passages=20
    """

    model: str
    """Its name."""
    samples: int
    """How many it draws for one query, at most."""
    operator: str = ""
    """Name of the operator; empty for the subtask's first."""
    options: str = ""
    """Settings of the subtask's options that are not at their first value: "passages=20,style=short"."""

    def __str__(self) -> str:
        return paired(f"{self.model} x{self.samples}", self.operator, self.options)

    @property
    def pairing(self) -> str:
        """Model, operator and options (`Pairing.name`)."""
        return paired(self.model, self.operator, self.options)

    @property
    def asked(self) -> str:
        """Model and options: what decides how long prompts and samples are (`Pairing.asked`)."""
        return paired(self.model, options=self.options)

    @classmethod
    def of(cls, pairing: str, samples: int) -> Choice:
        """So many samples of a pairing."""
        model, operator, options = parted(pairing)
        return cls(model, samples, operator, options)


class Allocation(Mapping[str, Choice]):
    """Subtask -> (model, samples, operator, options). Immutable and hashable; `key` is its one canonical text.

    Examples:
        >>> allocation = at.Allocation({"find": ("small", 4), "answer": ("large", 1)})
        >>> print(allocation)
        find: small x4, answer: large x1
        >>> allocation["find"].samples, allocation.key
        (4, 'answer=large*1;find=small*4')

    Raises:
        ConfigError: When empty, or when a sample count is not a positive whole number.
    """

    __slots__ = ("_choices", "key")

    def __init__(
        self, choices: Mapping[str, Choice | tuple[str, int] | tuple[str, int, str] | tuple[str, int, str, str]]
    ) -> None:
        if not choices:
            raise ConfigError("an allocation needs at least one subtask")
        self._choices = {
            name: choice if isinstance(choice, Choice) else Choice(*choice) for name, choice in choices.items()
        }
        for name, choice in self._choices.items():
            if not _NAME.fullmatch(name) or not _MODEL.fullmatch(choice.model):
                shown = f"{repr(name)[:_SHOWN]} with model {repr(choice.model)[:_SHOWN]}"
                raise ConfigError(f"{shown} cannot be part of an allocation")
            if isinstance(choice.samples, bool) or not isinstance(choice.samples, int) or choice.samples < 1:
                raise ConfigError(f"subtask {name!r}: samples must be a whole number >= 1, not {choice.samples!r}")
            if not isinstance(choice.operator, str) or not _OPERATOR.fullmatch(choice.operator):
                raise ConfigError(f"subtask {name!r}: {repr(choice.operator)[:_SHOWN]} is no name of an operator")
            if not isinstance(choice.options, str) or not _OPTIONS.fullmatch(choice.options):
                shown = repr(choice.options)[:_SHOWN]
                raise ConfigError(f"subtask {name!r}: {shown} are no options, such as 'passages=20'")
        self.key = _key_of(self._choices)

    def __getitem__(self, subtask: str) -> Choice:
        return self._choices[subtask]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def items(self) -> ItemsView[str, Choice]:
        return self._choices.items()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Allocation) and other.key == self.key

    def __repr__(self) -> str:
        return f"Allocation({self.key})"

    def __str__(self) -> str:
        return ", ".join(f"{name}: {choice}" for name, choice in self._choices.items())

    def replaced(self, subtask: str, pairing: str, samples: int) -> Allocation:
        """A copy that differs in one subtask.

        Args:
            subtask: Its name.
            pairing: The name of a model, or of a model, an operator and options (`Pairing.name`).
            samples: Its number of samples.
        """
        return Allocation({**self._choices, subtask: Choice.of(pairing, samples)})

    def in_order(self, subtasks: Iterable[str]) -> Allocation:
        """The same allocation with its subtasks listed in this order (equality and key ignore the order)."""
        ordered = Allocation.__new__(Allocation)  # its choices have been checked
        ordered._choices, ordered.key = {name: self._choices[name] for name in subtasks}, self.key
        return ordered if len(ordered._choices) == len(self._choices) else Allocation(ordered._choices)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Plain data, as in allocation files and the agent's prompts."""
        return {name: _plain(choice) for name, choice in self._choices.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Allocation:
        """The allocation of `as_dict`'s data.

        Raises:
            ConfigError: When an entry lacks its model or its samples.
        """
        for name, entry in data.items():
            if not isinstance(entry, Mapping) or not {"model", "samples"} <= set(entry):
                raise ConfigError(f"subtask {name!r} of an allocation needs a model and samples, not {entry!r}")
        return cls(
            {
                name: Choice(
                    str(entry["model"]),
                    entry["samples"],
                    str(entry.get("operator") or ""),
                    join_options(entry.get("options") or {}),
                )
                for name, entry in data.items()
            }
        )

    @classmethod
    def from_key(cls, key: str) -> Allocation:
        """The allocation of a canonical key."""
        found = cls.__new__(cls)  # its choices have been checked
        try:
            parts = sorted(map(_part, key.split(";")))
            found._choices = {name: choice for name, choice, _ in parts}
            if len(found._choices) < len(parts):
                raise ValueError(key)
        except ValueError:
            raise ConfigError(f"{key!r} is not the key of an allocation") from None
        found.key = ";".join([text for _, _, text in parts])
        return found


@lru_cache(maxsize=1 << 16)
def _part(text: str) -> tuple[str, Choice, str]:
    """Subtask and choice of a part of a key, and how it is written: of all trials of a study, few are different.

    Raises:
        ValueError: When it is none.
    """
    match = _CHOICE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    choice = Choice(match["model"], int(match["samples"]), match["operator"] or "", match["options"] or "")
    checked = Allocation({match["subtask"]: choice})
    return match["subtask"], choice, checked.key


def _key_of(choices: Mapping[str, Choice]) -> str:
    return ";".join(f"{name}={_key(choices[name])}" for name in sorted(choices))


def _key(choice: Choice) -> str:
    operator = f"@{choice.operator}" if choice.operator else ""
    return f"{choice.model}*{choice.samples}{operator}" + (f"?{choice.options}" if choice.options else "")


def _plain(choice: Choice) -> dict[str, Any]:
    operator = {"operator": choice.operator} if choice.operator else {}
    options = {name: _number(value) for name, value in read_options(choice.options).items()}
    return {"model": choice.model, "samples": choice.samples, **operator, **({"options": options} if options else {})}


def _number(text: str) -> int | float | str:
    """A text as the number that is written so, where it is one."""
    for kind in (int, float):
        with suppress(ValueError):
            if str(kind(text)) == text:
                return kind(text)
    return text
