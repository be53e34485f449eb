"""JSON from outside, as the standard has it: UTF-8, no NaN, numbers of ordinary size, so many levels."""

from __future__ import annotations

import json
import math
from typing import Any

from agenttts._util.text import storable_data

_MOST_LEVELS = 64
_MOST_DIGITS = 400


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
