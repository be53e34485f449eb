"""YAML files that one command writes and another reads: checked, with errors of one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from agenttts.errors import ConfigError

Content = TypeVar("Content", bound=BaseModel)


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
        given = source if isinstance(source, Mapping) else yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        return content.model_validate(given)
    except OSError as error:
        raise ConfigError(f"cannot read the {where}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place}: {first['msg']}" if place else "it holds no fields"
        raise ConfigError(f"{where} is not one that `{writer}` wrote: {wrong}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not YAML") from error
