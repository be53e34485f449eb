"""JSON from outside, as the standard has it: UTF-8, no NaN, numbers of ordinary size, so many levels."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

from agenttts._util.text import storable_data

_MOST_LEVELS = 64
_MOST_DIGITS = 400
_MOST_DIGITS_OF_A_COUNT = 20
_MOST_STARTS = 100
"""Objects that are begun and broken off in one text, after which no whole one is looked for."""
_MOST_UNCLOSED = 4
_BRACES = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}]', re.DOTALL)
"""A string, which may be cut off, or a brace."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[][{}]', re.DOTALL)
_START = re.compile(r'\{\s*(?:\}|"(?:[^"\\]|\\.)*"\s*:)', re.DOTALL)
"""An empty object, or one up to its first colon."""
_START_OF_EITHER = re.compile(rf'{_START.pattern}|\[\s*[\]{{\["]', re.DOTALL)
"""The same, or the start of an array of objects, arrays or strings."""
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
"""A string, or a comma with nothing after it."""
_MOST_BROKEN = 20
_LOOSE = re.compile(
    r"""
    ("(?:[^"\\]|\\.)*(?:"|\\?\Z))                    # a string, which may be cut off
    | (?<=[{\[,:\s]) '(.{0,500}?)' (?=\s*[}\]:,])       # one as Python writes it
    | //[^\n]* | /\*.{0,500}?\*/                        # a remark
    | (?<=[{,\s]) ([A-Za-z_]\w*) (?=\s*:)               # a bare name
    | \b(None|True|False)\b
    """,
    re.DOTALL | re.VERBOSE,
)
_PLAIN = str.maketrans("“”：，\xa0", '"":, ')
_AS_JSON = {"None": "null", "True": "true", "False": "false"}


class Broken(NamedTuple):
    """An object or array that cannot be read whole; what of it can be comes after it."""

    why: str


class UnfitJSON(ValueError):
    """It is JSON by its form, and nothing that a program should be given."""


def read_json(body: bytes) -> Any:
    """What is in a JSON text, every text in it storable.

    Raises:
        UnfitJSON: On too many levels, or a number that is none or too large.
        ValueError: On anything else that is not JSON.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_refused, parse_int=_whole, parse_float=_finite)
        require_flat(found)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise _too_deep() from error
    return storable_data(found)


def read_data(text: str) -> Any:
    """What is in a JSON text of the user's own, in which NaN may stand for what is missing.

    Raises:
        json.JSONDecodeError: When it is not JSON.
        UnfitJSON: On too many levels, or a number of hundreds of digits.
    """
    try:
        found = json.loads(text, parse_int=_whole)
        require_flat(found)
    except RecursionError as error:
        raise _too_deep() from error
    return found


def bounded_int(digits: str) -> int | float:
    """An integer; infinity for one that no count can be, rather than an error that loses the whole answer."""
    return int(digits) if len(digits) <= _MOST_DIGITS_OF_A_COUNT else math.inf


def first_object(text: str) -> dict[str, Any] | None:
    """The first whole JSON object in a text, every text in it storable; None where there is none.

    What is within an object that is broken or cut off is part of it, and not looked at again: the time grows with the
    text alone.

    Raises:
        UnfitJSON: On an object of too many levels, with a name twice, or with a number that is none or too large.
    """
    end, unclosed = 0, 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, end)
        if start is None:
            return None
        try:
            found, _end = _DECODER.raw_decode(text, start.start())
            require_flat(found)
            return dict(storable_data(found))
        except json.JSONDecodeError as error:
            closed = _closed(text, start.start()) if unclosed < _MOST_UNCLOSED else None
            end, unclosed = closed or max(error.pos, start.end()), unclosed + (closed is None)
        except RecursionError as error:
            raise _too_deep() from error
    return None


def json_values(text: str) -> list[Any]:
    """Every JSON object and array in a text, in order; a comma before a closing bracket is let pass.

    Of one that is broken or cut off there is a `Broken`, and after it what is whole inside of it. The time grows with
    the text alone: of what is broken again and again, the rest is not looked at.
    """
    found: list[Any] = []
    end = broken = 0
    while broken < _MOST_BROKEN and (start := _START_OF_EITHER.search(text, end)):
        try:
            value, end = _value(text, start.start())
            found.append(storable_data(value))
        except (UnfitJSON, json.JSONDecodeError) as error:
            unfit = isinstance(error, UnfitJSON)
            found.append(Broken(str(error) if unfit else "it is broken or cut off"))
            end, broken = start.start() + 1, broken + 1
    return found


def loosened(text: str) -> str:
    """A text with what is nearly JSON in it as JSON: no remarks, no bare names, quotes and constants of JSON."""
    return _LOOSE.sub(_strictly, text.translate(_PLAIN))


def _strictly(part: re.Match[str]) -> str:
    string, quoted, name, constant = part.groups()
    if quoted is not None or name:
        return json.dumps(name or quoted)
    return string or _AS_JSON.get(constant or "", "")


def _value(text: str, start: int) -> tuple[Any, int]:
    """The object or array that begins here, and where it ends."""
    try:
        try:
            value, end = _LENIENT.raw_decode(text, start)
        except json.JSONDecodeError:
            end = _closed(text, start, _BRACKETS) or start
            value = _LENIENT.decode(_LAST_COMMA.sub(lambda part: part[1] or "", text[start:end]))
        require_flat(value)
    except RecursionError as error:
        raise _too_deep() from error
    return value, end


def _closed(text: str, start: int, brackets: re.Pattern[str] = _BRACES) -> int | None:
    """Where the braces that open here are closed; None where they are not."""
    depth = 0
    for part in brackets.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    return None


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnfitJSON("it holds a name twice")
    return found


def _refused(constant: str) -> Any:
    raise UnfitJSON(f"{constant} is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise UnfitJSON(f"it holds a number of {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise UnfitJSON("it holds a number that is too large")
    return number


def require_flat(value: Any, levels: int = _MOST_LEVELS) -> None:
    """Make sure that lists and dictionaries are not nested in too many levels, nor in themselves.

    Raises:
        UnfitJSON: When they are.
    """
    if levels < 0:
        raise _too_deep()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        require_flat(item, levels - 1)


def _too_deep() -> UnfitJSON:
    return UnfitJSON(f"it is nested in more than {_MOST_LEVELS} levels")


_DECODER, _LENIENT = (
    json.JSONDecoder(
        parse_constant=_refused, parse_int=_whole, parse_float=_finite, object_pairs_hook=_single, strict=strict
    )
    for strict in (True, False)
)
