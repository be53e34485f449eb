"""What fields of users' values may hold: one sentence instead of a TypeError from the depths."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from agenttts._util.text import storable
from agenttts.errors import ConfigError

_SHOWN = 100
_FUNCTIONS = (FunctionType, MethodType, partial)
_NO_VALUES = (Awaitable, Iterator, AsyncIterator)
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.A)


class Kind(NamedTuple):
    """What a value must be, in words, and whether it is."""

    words: str
    holds: Callable[[Any], bool]

    @property
    def or_none(self) -> Kind:
        """The same, or None."""
        return Kind(f"{self.words} or None", lambda value: value is None or self.holds(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_async(function: Any) -> bool:
    """Whether a function, or an object that is called as one, is to be awaited."""
    called = function if isinstance(function, _FUNCTIONS) else getattr(type(function), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


TEXT = Kind("text", lambda value: isinstance(value, str))
NAME = Kind(
    "text without NUL or half a surrogate pair", lambda value: isinstance(value, str) and storable(value) == value
)
"""What stores, servers and files know something by."""
FUNCTION = Kind("a function", callable)
PLAIN_FUNCTION = Kind("a function that is not async", lambda value: callable(value) and not is_async(value))
MAPPING = Kind("a mapping", lambda value: isinstance(value, Mapping))
POSITIVE = Kind("a positive number", lambda value: _is_number(value) and value > 0)
NOT_NEGATIVE = Kind("a number >= 0", lambda value: _is_number(value) and value >= 0)
FRACTION = Kind("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
COUNT = Kind("a whole number >= 1", lambda value: isinstance(value, int) and _is_number(value) and value >= 1)


def instance(of: type, words: str) -> Kind:
    """An object of a class, which itself will not do."""
    return Kind(words, lambda value: isinstance(value, of) and not isinstance(value, type))


def require(kind: Kind, value: Any, what: str) -> None:
    """Make sure that a value is of a kind.

    Raises:
        ConfigError: When it is not: the message says what must be which.
    """
    if not kind.holds(value):
        shown = repr(value)
        raise ConfigError(f"{what} must be {kind.words}, not {shown[:_SHOWN]}{'...' if shown[_SHOWN:] else ''}")


def require_value(value: Any, what: str) -> None:
    """Make sure that a function of the user's gave a value: not what is still to be awaited, or can be read once only.

    Raises:
        TypeError: When it did not: like every fault of such a function, it fails the example.
    """
    if isinstance(value, _NO_VALUES):
        if inspect.iscoroutine(value):
            value.close()  # it is never awaited: that is said here
        raise TypeError(f"{what} gave a {type(value).__name__}: await what is async, and make a list of an iterator")


def require_variable(name: object, what: str) -> None:
    """Make sure that a value names an environment variable. What does not may be a secret, and is not shown.

    Raises:
        ConfigError: When it does not.
    """
    if not (isinstance(name, str) and _VARIABLE.fullmatch(name)):
        raise ConfigError(f"{what} must be the name of an environment variable that holds the value, not the value")


def require_fields(value: Any, where: str, kinds: Mapping[str, Kind]) -> None:
    """Make sure that the fields of an object are of their kinds."""
    for name, kind in kinds.items():
        require(kind, getattr(value, name), f"{where}: {name}")


def members(value: Any, kind: Kind, what: str) -> tuple[Any, ...]:
    """A list that the user gave, as a tuple.

    Raises:
        ConfigError: When it is no list (a single text is none), or one of its members is not of the kind.
    """
    listed = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
    found = tuple(value) if listed else (value,)
    one_of = Kind(f"a list of {kind.words}", lambda one: listed and kind.holds(one))
    for each in found:
        require(one_of, each, what)
    return found


def reject_duplicates(what: str, names: Sequence[str]) -> None:
    """Make sure that no name is given twice.

    Raises:
        ConfigError: When one is.
    """
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{what} {name!r} twice: names must be unique")
