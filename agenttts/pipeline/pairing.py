"""What a search chooses of a stage beside the number of samples: a model, an operator, and settings of its options.

Their names are joined in one text, the name of the pairing: "small by revise(width=2) with passages=20". What is first
in its list goes unnamed, so that names stay valid when something is added to a list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

from agenttts._util.checks import Kind, members
from agenttts.errors import ConfigError
from agenttts.pipeline.model import Model, Sampling
from agenttts.pipeline.operator import Operator

Setting = bool | int | float | str
"""One value of an option."""
Options = Mapping[str, Setting]
"""Option -> the value that it has."""

_OF_SAMPLING = ("temperature", "top_p", "max_tokens")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE = re.compile(r"[^\s*;@?=,\x00-\x1f\ud800-\udfff]+")
_SETTING = Kind(
    "numbers, truth values or short texts",
    lambda value: type(value) in (bool, int, str) or type(value) is float and math.isfinite(value),
)


class Pairing(NamedTuple):
    """A model of a subtask, the operator that puts its samples to use, and how the subtask's options are set.

    Examples:
        >>> answer = at.Subtask("answer", (small,), "...", operators=(at.operators.Vote(), at.operators.Revise()))
        >>> [pairing.name for pairing in answer.pairings]
        ['small', 'small by revise(width=1)']
        >>> shown = at.Subtask("answer", (small,), "...", options={"passages": (5, 20)})
        >>> [pairing.name for pairing in shown.pairings]
        ['small', 'small with passages=20']
    """

    model: Model
    operator: Operator
    operator_name: str
    """As in allocations: empty for the subtask's first operator."""
    options: Options = MappingProxyType({})
    """All of them, as they are set."""
    options_name: str = ""
    """As in allocations: those that are not at their first value."""

    @property
    def name(self) -> str:
        """As in tables and statistics: the model's name, and what is not the first of its kind."""
        return paired(self.model.name, self.operator_name, self.options_name)

    @property
    def asked(self) -> str:
        """The model and the settings of the options: what decides how long prompts and samples are."""
        return paired(self.model.name, options=self.options_name)

    @property
    def least_samples(self) -> int:
        """Fewer samples than this are another operator's business."""
        return self.operator.least_samples if self.operator_name else 1

    @property
    def departures(self) -> int:
        """How many of its operator and options are not the first of their kind."""
        return bool(self.operator_name) + len(read_options(self.options_name))


def paired(model: str, operator: str = "", options: str = "") -> str:
    """The name of a pairing; no part holds a space."""
    how = f" by {operator}" if operator else ""
    return f"{model}{how}" + (f" with {options}" if options else "")


def parted(pairing: str) -> tuple[str, str, str]:
    """The model, the operator and the options that `paired` has joined."""
    chosen, _, options = pairing.partition(" with ")
    model, _, operator = chosen.partition(" by ")
    return model, operator, options


def settings(options: Mapping[str, Sequence[Setting]]) -> list[Options]:
    """Every combination of values, that of the first ones first."""
    return [MappingProxyType(dict(zip(options, values, strict=True))) for values in product(*options.values())]


def write_options(options: Mapping[str, Sequence[Setting]], chosen: Mapping[str, Any]) -> str:
    """Settings as text, by name, those at their first value left out: "passages=20,style=short".

    Args:
        options: Those of the subtask, with their values.
        chosen: What some of them are set to, as values or as their texts.
    """
    kept = {n: value for n, value in chosen.items() if n not in options or str(value) != str(options[n][0])}
    return join_options(kept)


def join_options(chosen: Mapping[str, Any]) -> str:
    """Settings as text, by name."""
    return ",".join(f"{name}={chosen[name]}" for name in sorted(chosen))


def read_options(text: str) -> dict[str, str]:
    """Option -> the text of its value."""
    return dict(part.split("=", 1) for part in text.split(",")) if text else {}


def sampling_with(sampling: Sampling, options: Options) -> Sampling:
    """The sampling of a subtask whose options are set so: those named like one of its fields replace it."""
    own: dict[str, Any] = {name: value for name, value in options.items() if name in _OF_SAMPLING}
    return replace(sampling, **own) if own else sampling


def checked_options(given: Mapping[str, Any], where: str) -> dict[str, tuple[Setting, ...]]:
    """The options of a subtask.

    Raises:
        ConfigError: On a name or value that no allocation can hold, or no or equal values.
    """
    found: dict[str, tuple[Setting, ...]] = {}
    for name, values in given.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ConfigError(f"{where}: the option {name!r} must be named with letters, digits and underscores")
        found[name] = members(values, _SETTING, f"{where}: the values of option {name!r}")
        texts = [str(value) for value in found[name]]
        if not texts or len(set(texts)) < len(texts):
            raise ConfigError(f"{where}: option {name!r} needs one or more values that differ, not {list(values)!r}")
        for text in texts:
            if not _VALUE.fullmatch(text):
                raise ConfigError(
                    f"{where}: option {name!r} cannot have the value {text!r}: give it a name without spaces or any "
                    "of * ; @ ? = , and let the prompt look it up"
                )
    for chosen in settings(found):
        sampling_with(Sampling(), chosen)
    return found


def option_faults(options: Mapping[str, Sequence[Setting]], text: str, where: str) -> Iterable[str]:
    """What is wrong with the settings of a choice, in sentences."""
    for name, value in read_options(text).items():
        if name not in options:
            yield f"{where} has no option {name!r}; " + (f"it has {', '.join(options)}" if options else "it has none")
        elif value not in (known := [str(each) for each in options[name]]):
            yield f"{where} has no {name}={value}; choose one of {', '.join(known)}"
        elif value == known[0]:
            yield f"{name}={value} is the first of {where}: leave it out"
