"""YAML files that one command writes and another reads: checked, with errors of one sentence.

Such a file is data and may come from anybody. It is read in three steps: bounded bytes of a regular file, then the
parser's events (no alias, which may repeat itself without end; so many levels and values), then plain data (text as
keys, numbers of ordinary size, text that can be stored). Only then is it compared with what it has to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from agenttts._util.files import read_bounded
from agenttts._util.text import one_line, storable
from agenttts.errors import ConfigError

Content = TypeVar("Content", bound=BaseModel)
_MOST_EVENTS = 100_000
_MOST_LEVELS = 40
_MOST_SCALAR = 64 * 1024
_MOST_NUMBER = 2**63
_SHOWN = 300
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_REFUSES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What the constructors of YAML's own types raise on a value that is none: a 13th month, a number without digits."""


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("it should be a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(_no_truth), Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_truth), Field(ge=1, lt=_MOST_NUMBER)]


class _UnfitYAML(Exception):
    """What is YAML, but no data that we take."""


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Always: what is read back may hold no alias."""
        return True


def written(content: Mapping[str, Any], *, flow: bool | None = False) -> str:
    """The text of a file that `read_checked` reads."""
    return yaml.dump(
        content, Dumper=_Writer, sort_keys=False, default_flow_style=flow, width=200 if flow is None else 80
    )


def read_checked(source: str | Path | Mapping[str, Any], content: type[Content], where: str, writer: str) -> Content:
    """What is in a file, or in a mapping that stands for one.

    Args:
        source: The file, or its content.
        content: What it has to hold.
        where: How errors name it.
        writer: The command that writes such files, as errors name it.

    Raises:
        ConfigError: When it cannot be read, is not YAML, or holds something else.
    """
    try:
        given = source if isinstance(source, Mapping) else _loaded(Path(source), where)
        _require_plain(given)
        return content.model_validate(given)
    except OSError as error:
        raise ConfigError(f"cannot read the {where}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place}: {first['msg']}" if place else "it holds no fields"
        raise ConfigError(f"{where} is not one that `{writer}` wrote: {one_line(wrong)[:_SHOWN]}") from error
    except _UnfitYAML as error:
        raise ConfigError(f"{where} is not one that `{writer}` wrote: {error}") from error


def _loaded(path: Path, where: str) -> Any:
    try:
        text = read_bounded(path).decode("utf-8-sig")
        _require_small(yaml.parse(text, Loader=_LOADER))
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, *_REFUSES) as error:
        raise ConfigError(f"{where} is not YAML, or not in UTF-8") from error


def _require_small(events: Iterator[yaml.Event]) -> None:
    """Refuse what would grow without end once it is loaded."""
    level = 0
    for number, event in enumerate(events):
        level += isinstance(event, _OPENS) - isinstance(event, _CLOSES)
        if isinstance(event, yaml.AliasEvent):
            raise _UnfitYAML("it refers to a part of itself (*), which none of our files does")
        if level > _MOST_LEVELS:
            raise _UnfitYAML(f"it is nested in more than {_MOST_LEVELS} levels")
        if number > _MOST_EVENTS:
            raise _UnfitYAML(f"it holds more than {_MOST_EVENTS:,} values")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MOST_SCALAR:
            raise _UnfitYAML(f"it holds a value of more than {_MOST_SCALAR // 1024} KiB")


def _require_plain(value: Any) -> None:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise _UnfitYAML("it has a name that is not text: put quotes around it")
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            _require_plain(item)
    elif isinstance(value, str) and storable(value) != value:
        raise _UnfitYAML("it holds a NUL or half a surrogate pair")
    elif isinstance(value, int) and abs(value) >= _MOST_NUMBER:
        raise _UnfitYAML("it holds a whole number of more than 64 bits")
