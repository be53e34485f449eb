"""One stage of a pipeline."""

from __future__ import annotations

import inspect
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any

from agenttts._util.checks import (
    COUNT,
    FUNCTION,
    MAPPING,
    NAME,
    PLAIN_FUNCTION,
    POSITIVE,
    TEXT,
    Kind,
    instance,
    members,
    reject_duplicates,
    require,
    require_fields,
)
from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint import Identity, identified
from agenttts.pipeline.handles import Aggregator, AsyncMetric, Coroutine, Metric, Parser, Prompt, text
from agenttts.pipeline.model import Model, Sampling, require_no_secret, sizes_of
from agenttts.pipeline.operator import Lengths, Operator, writes_anew_in_words
from agenttts.pipeline.pairing import (
    Options,
    Pairing,
    Setting,
    checked_options,
    option_faults,
    paired,
    parted,
    read_options,
    settings,
    write_options,
)
from agenttts.pipeline.short_forms import Aggregated, Programmed
from agenttts.pipeline.tools import TOOL

MAJORITY_VOTE = Identity("aggregators.majority_vote", version=1)
"""What `aggregator=None` means."""
_SUBTASK_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


Tokens = float | Callable[[Options], float]


@identified(
    "subtask",
    version=1,
    # `after` counts by the names that it stands for (`Pipeline.fingerprints`), operators, options and tools where there
    # are any.
    unscored=(
        *("after", "prompt_tokens", "completion_tokens", "model_lengths"),
        *("max_samples", "sample_counts", "operators", "options", "tools"),
    ),
)
@dataclass(frozen=True)
class Subtask:
    """One stage of a pipeline.

    Give either a `prompt` (with `parser` and `operators`, or one `aggregator`) or `run`, a coroutine that is the whole
    stage and draws through its handle; or neither, where the whole pipeline is one function (`Pipeline.run`). A string
    prompt is a Jinja template over the example's fields and the names of the subtasks before it; a callable returns the
    user message or a list of messages.

    Examples:
        >>> prompt, parser = "{{ question }} End with 'Answer: ...'.", at.parsers.tagged("Answer:")
        >>> answer = at.Subtask("answer", (small, large), prompt, parser=parser, max_samples=16)
        >>> [model.name for model in answer.models]
        ['small', 'large']

    Raises:
        ConfigError: On an unusable name, no or duplicate models, or a field of another type or range.
    """

    name: str
    """Unique in the pipeline; prompts refer to its output by it."""
    models: Sequence[Model]
    """The candidates, kept as a tuple."""
    prompt: Prompt | None = None
    """A Jinja template, or a function of the `SubtaskInput`; None where `run` or `steps` asks."""
    _: KW_ONLY
    system: str | None = None
    """System message put before a string prompt."""
    parser: Parser = text
    """Sample -> value; raises `errors.ParseError` (or returns None) for an unusable sample, a counted non-vote."""
    aggregator: Aggregator | None = None
    """Samples -> output; majority vote when None. Of a `run` coroutine it prices the calls beyond the first turn's."""
    operators: Sequence[Operator | Aggregator] = ()
    """How samples may be put to use, one of which the search chooses; an allocation that names none means the first.
    Empty: the one that `aggregator` or `run` is short for."""
    options: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    """Knobs of the stage's own, such as how many passages its prompt shows: name -> values, one of which the search
    chooses; an allocation that names none means the first. `{{ passages }}` in a template, `given.options["passages"]`
    in a function; one that is called temperature, top_p or max_tokens sets that of the sampling."""
    default: Any = None
    """Output when none of the samples is usable; None makes the example fail."""
    metric: Metric | AsyncMetric | None = None
    """Optional score of this subtask's output in [0, 1]: evidence for the search, not its objective."""
    run: Coroutine | None = None
    """A coroutine that is the whole stage, instead of prompt, parser and aggregator."""
    after: Sequence[str] | None = None
    """Names of the subtasks whose outputs this one reads; None means the one declared before it."""
    prompt_tokens: Tokens = 1024
    """Mean prompt length in tokens (the paper's Np), or a function of the options: `lambda options: 40 + 90 *
    options["passages"]`."""
    completion_tokens: Tokens = 256
    """Mean length of one sample in tokens (the paper's Nd), its reasoning included; or a function of the options."""
    model_lengths: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Model -> its own mean (prompt, completion) lengths, where they differ from those of the stage: a reasoning model
    writes many times as much. `{"gpt-5-mini-high": (1024, 4000), "small with passages=20": (2100, 80)}`"""
    max_samples: int | None = 100
    """Largest number of samples the search may try; None leaves the budget as the only bound."""
    sample_counts: Sequence[int] | None = None
    """The numbers of samples the search may try, kept in ascending order; None means every one from 1 on."""
    sampling: Sampling = field(default_factory=Sampling)
    """How its samples are drawn."""
    tools: Sequence[Mapping[str, Any]] = ()
    """Tools that the model may call, as the chat API takes them. The value of a sample that calls some is the list of
    their names and arguments, `[{"name": ..., "arguments": {...}}]`: the parser reads the others."""

    def __post_init__(self) -> None:
        require(TEXT, self.name, "a subtask's name")
        where = f"subtask {self.name!r}"
        if not _SUBTASK_NAME.fullmatch(self.name):
            raise ConfigError(f"{where} must be named with letters, digits and underscores")
        object.__setattr__(self, "models", members(self.models, _MODEL, f"{where}: models"))
        if self.after is not None:
            object.__setattr__(self, "after", members(self.after, _NAME, f"{where}: after"))
        if not self.models:
            raise ConfigError(f"{where} has no candidate model: list at least one")
        reject_duplicates(f"{where} lists the model", [model.name for model in self.models])
        if self.prompt is not None and self.run is not None:
            raise ConfigError(f"{where} has both a prompt and a run coroutine: give it one of them")
        if self.run is not None and not inspect.iscoroutinefunction(self.run):
            raise ConfigError(f"{where}: run must be an async function, not {self.run!r}")
        require_fields(self, where, _SUBTASK_FIELDS)
        require_no_secret(self.sampling.extra, f"{where}: sampling: extra")
        object.__setattr__(self, "operators", members(self.operators, _OPERATOR, f"{where}: operators"))
        if self.operators and (self.aggregator is not None or self.run is not None):
            short = "aggregator" if self.run is None else "run coroutine"
            raise ConfigError(f"{where} has both operators and its short form, the {short}: give it one of them")
        for operator in self.operators:
            require(NAME, operator.name, f"{where}: an operator's name")
            if not _OPERATOR_NAME.fullmatch(operator.name):
                raise ConfigError(
                    f"{where}: the operator name {operator.name!r} must be non-empty, without spaces or any of * ; @ ?"
                )
        reject_duplicates(f"{where} lists the operator", [operator.name for operator in self.operators])
        object.__setattr__(self, "options", checked_options(self.options, where))
        object.__setattr__(self, "tools", members(self.tools, TOOL, f"{where}: tools"))
        for operator in self.operators or filter(None, [self.aggregator]):
            if self.tools and getattr(operator, "writes_anew", False):
                raise ConfigError(f"{where} has tools, and {writes_anew_in_words(operator.name)}")
        self._require_lengths(where)
        if self.sample_counts is not None:
            object.__setattr__(self, "sample_counts", self._checked_counts(self.sample_counts))

    def _require_lengths(self, where: str) -> None:
        known = [model.name for model in self.every_model]
        for name, lengths in self.model_lengths.items():
            model, _, options = parted(name)
            if model not in known:
                raise ConfigError(f"{where}: model_lengths names {name!r}; its models are {', '.join(known)}")
            for fault in option_faults(self.options, options, where):
                raise ConfigError(f"{where}: model_lengths names {name!r}, but {fault}")
            require(_LENGTHS, lengths, f"{where}: the model_lengths of {name!r}")
        for kind in ("prompt_tokens", "completion_tokens"):
            for chosen in settings(self.options):
                require(POSITIVE, _length(getattr(self, kind), chosen), f"{where}: {kind}")

    def _checked_counts(self, given: Sequence[int]) -> tuple[int, ...]:
        where = f"subtask {self.name!r}: sample_counts"
        counts = members(given, _COUNTS, where)
        if not counts:
            raise ConfigError(f"{where} is empty: list at least one number, or leave it None for every number")
        if self.max_samples is not None and max(counts) > self.max_samples:
            raise ConfigError(f"{where} go up to {max(counts)}, over max_samples={self.max_samples}: raise that")
        return tuple(sorted(set(counts)))

    def _identity(self) -> dict[str, Any]:
        """No aggregator is the majority vote, but to a coroutine, which may take it as it likes."""
        further = {name: each for name in ("options", "tools") if (each := getattr(self, name))}
        if self.operators:
            return {"aggregator": None, "operators": self.operators, **further}
        return {**({"aggregator": MAJORITY_VOTE} if self.aggregator is None and self.run is None else {}), **further}

    @cached_property
    def pairings(self) -> tuple[Pairing, ...]:
        """Every model with the first operator, then with the second, and so on; with each setting of the options."""
        found = []
        for number, operator in enumerate(self.operators or (self._short_form(),)):
            used = operator if isinstance(operator, Operator) else Aggregated(operator)
            for chosen in settings(self.options):
                how = used, used.name if number else "", chosen, write_options(self.options, chosen)
                found += [Pairing(model, *how) for model in self.models]
        return tuple(found)

    def _short_form(self) -> Operator | Aggregator:
        if self.run is not None:
            return Programmed(self.run, self.aggregator)
        from agenttts.pipeline.operators.votes import Vote  # not above: a command that runs nothing needs no numpy

        return self.aggregator or Vote()

    def pairing(self, name: str) -> Pairing:
        """The pairing of this name (`Pairing.name`); what is first of its kind may be named or not.

        Raises:
            ConfigError: When the subtask has no such pairing; the message lists those it has.
        """
        if (found := self._by_name.get(name)) is not None:
            return found
        model, operator, options = parted(name)
        first = operator == self.pairings[0].operator.name
        wanted = paired(model, "" if first else operator, write_options(self.options, read_options(options)))
        if (found := self._by_name.get(wanted)) is not None:
            return found
        self.model(model)
        for fault in option_faults(self.options, options, f"subtask {self.name!r}"):
            raise ConfigError(fault)
        known = ", ".join(dict.fromkeys(each.operator.name for each in self.pairings))
        raise ConfigError(f"subtask {self.name!r} has no operator {operator!r}; it has {known}")

    @cached_property
    def _by_name(self) -> Mapping[str, Pairing]:
        return {pairing.name: pairing for pairing in self.pairings}

    def lengths(self, model: Model, options: Options | None = None) -> Lengths:
        """Mean lengths of its prompt and of one sample with this model, in tokens.

        Args:
            model: Who is asked.
            options: How its options are set; the first values when None.
        """
        chosen = settings(self.options)[0] if options is None else options
        stage = (_length(self.prompt_tokens, chosen), _length(self.completion_tokens, chosen))
        if not self.model_lengths:
            return Lengths(*stage)
        written = write_options(self.options, chosen)
        by_model = {
            name: self.model_lengths.get(paired(name, options=written)) or self.model_lengths.get(name, stage)
            for name in (each.name for each in self.every_model)
        }
        return Lengths(*by_model.get(model.name, stage), by_model)

    @property
    def every_model(self) -> tuple[Model, ...]:
        """Its candidate models, and those that its operators ask."""
        others = [model for each in self.operators if isinstance(each, Operator) for model in each.models]
        return tuple(dict.fromkeys((*self.models, *others)))

    def with_models(self, change: Callable[[Model], Model]) -> Subtask:
        """A copy with every one of its models changed, its operators' included."""
        changed = tuple(each.with_models(change) if isinstance(each, Operator) else each for each in self.operators)
        return replace(self, models=tuple(map(change, self.models)), operators=changed)

    def with_lengths(self, lengths: tuple[float, float] | Mapping[str, tuple[float, float]]) -> Subtask:
        """A copy that declares other lengths: with every model, or model by model."""
        if isinstance(lengths, Mapping):
            return replace(self, model_lengths={**self.model_lengths, **lengths}) if lengths else self
        prompt, completion = lengths
        return replace(self, prompt_tokens=prompt, completion_tokens=completion, model_lengths={})

    def only(self, models: Sequence[Model]) -> Subtask:
        """A copy with some of its candidate models."""
        some = replace(self, models=tuple(models), model_lengths={})
        known = {model.name for model in some.every_model}
        kept = {name: both for name, both in self.model_lengths.items() if parted(name)[0] in known}
        return replace(some, model_lengths=kept)

    @property
    def sizes(self) -> dict[str, float]:
        """Model -> a figure that says which is the larger one, in declared order (`model.sizes_of`)."""
        return sizes_of(self.models)

    @property
    def least_samples(self) -> int:
        """Smallest number of samples the search may try."""
        return self.sample_counts[0] if self.sample_counts else 1

    def samples_up_to(self, most: int) -> int:
        """Largest number of samples the search may try that is not over `most`; 0 when there is none."""
        bound = most if self.max_samples is None else min(most, self.max_samples)
        if self.sample_counts is None:
            return max(bound, 0)
        position = bisect_right(self.sample_counts, bound)
        return self.sample_counts[position - 1] if position else 0

    def model(self, name: str) -> Model:
        """The candidate model of this name.

        Raises:
            ConfigError: When the subtask has no such model; the message lists those it has.
        """
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise ConfigError(f"subtask {self.name!r} has no model {name!r}; it has {known}")


def _length(tokens: Tokens, options: Options) -> float:
    return tokens(options) if callable(tokens) else tokens


_MODEL = instance(Model, "Model objects")
_COUNTS = COUNT._replace(words="whole numbers >= 1")
_OPERATOR = Kind(
    "operators such as at.operators.Vote()",
    lambda value: isinstance(value, Operator | Aggregator) and not isinstance(value, type),
)
_OPERATOR_NAME = re.compile(r"[^\s*;@?]+")
_NAME = TEXT._replace(words="names of subtasks")
_LENGTHS = Kind(
    "two positive numbers, of tokens of prompt and completion",
    lambda value: isinstance(value, tuple | list) and len(value) == 2 and all(map(POSITIVE.holds, value)),
)
_SUBTASK_FIELDS = {
    "prompt": Kind(
        "a Jinja template or a function that is not async",
        lambda prompt: isinstance(prompt, str) or PLAIN_FUNCTION.holds(prompt),
    ).or_none,
    "system": TEXT.or_none,
    "parser": PLAIN_FUNCTION,
    "aggregator": instance(Aggregator, "an aggregator such as MajorityVote()").or_none,
    "metric": FUNCTION.or_none,
    "model_lengths": MAPPING,
    "options": MAPPING,
    "max_samples": COUNT.or_none,
    "sampling": instance(Sampling, "a Sampling"),
}
