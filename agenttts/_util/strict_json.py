"""JSON from outside, as the standard has it: UTF-8, no NaN, numbers of ordinary size, so many levels."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from agenttts._util.text import storable_data

_MOST_LEVELS = 64
_MOST_DIGITS = 400
_MOST_STARTS = 100
"""Objects that are begun and broken off in one text, after which no whole one is looked for."""
_MOST_UNCLOSED = 4
_BRACES = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}]', re.DOTALL)
"""A string, which may be cut off, or a brace."""
_START = re.compile(r'\{\s*(?:\}|"(?:[^"\\]|\\.)*"\s*:)', re.DOTALL)
"""An empty object, or one up to its first colon."""


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
        _require_flat(found, _MOST_LEVELS)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise _too_deep() from error
    return storable_data(found)


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
            _require_flat(found, _MOST_LEVELS)
            return dict(storable_data(found))
        except json.JSONDecodeError as error:
            closed = _closed(text, start.start()) if unclosed < _MOST_UNCLOSED else None
            end, unclosed = closed or max(error.pos, start.end()), unclosed + (closed is None)
        except RecursionError as error:
            raise _too_deep() from error
    return None


def _closed(text: str, start: int) -> int | None:
    """Where the braces that open here are closed; None where they are not."""
    depth = 0
    for part in _BRACES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(part[0], 0)
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


def _require_flat(value: Any, levels: int) -> None:
    if levels < 0:
        raise _too_deep()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _require_flat(item, levels - 1)


def _too_deep() -> UnfitJSON:
    return UnfitJSON(f"it is nested in more than {_MOST_LEVELS} levels")


_DECODER = json.JSONDecoder(parse_constant=_refused, parse_int=_whole, parse_float=_finite, object_pairs_hook=_single)
