"""What a user declares: models, subtasks, and the pipeline that joins them.

Pure values: nothing here talks to a model. A pipeline is a directed acyclic graph of subtasks; each subtask draws
S samples from one model, parses each sample, and aggregates the parsed samples into one output, which the subtasks
after it receive. Everything is validated on construction, so a mistake surfaces before anything is bought.
"""

from __future__ import annotations

import inspect
import re
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from agenttts.checks import (
    COUNT,
    FRACTION,
    FUNCTION,
    MAPPING,
    NOT_NEGATIVE,
    POSITIVE,
    TEXT,
    Kind,
    instance,
    members,
    require,
    require_fields,
)
from agenttts.errors import ConfigError
from agenttts.fingerprint import Identity, combined, describe, fingerprint, identified, uncovered

Message = dict[str, str]
"""One chat message: {"role": ..., "content": ...}."""

Example = Mapping[str, Any]
"""One labelled example: a mapping of fields, with an `id`."""

MAJORITY_VOTE = Identity("aggregators.majority_vote", version=1)
"""What `aggregator=None` means."""

_SUBTASK_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_NAME = re.compile(r"[^\s=*;,]+")


@identified(
    "model",
    version=1,
    unscored=(
        *(
            "parameters",
            "base_url",
            "api_key_env",
            "usd_per_million_prompt_tokens",
            "usd_per_million_completion_tokens",
        ),
        *("layers", "hidden_size", "kv_width", "weight_bits", "prefill_tokens_per_s", "decode_tokens_per_s"),
    ),
)
@dataclass(frozen=True)
class Model:
    """A served LLM.

    Raises:
        ConfigError: On an unusable name, or a field of another type or range.
    """

    name: str
    """Name in allocations, tables and prompts of the search agent."""
    parameters: float
    """Parameter count; the active parameters for mixtures of experts."""
    _: KW_ONLY
    served_name: str = ""
    """Name the endpoint knows the model by; `name` when empty."""
    base_url: str | None = None
    """OpenAI-compatible endpoint; the environment variable OPENAI_BASE_URL when None."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. The key itself is never part of a value."""
    revision: str = ""
    """Which weights: part of the sample pool's key, so that retrained weights never reuse old samples."""
    usd_per_million_prompt_tokens: float | None = None
    usd_per_million_completion_tokens: float | None = None
    layers: int | None = None
    """Transformer layers; with `hidden_size`, what attention costs (`flops`, `kinetics`) and its cache needs."""
    hidden_size: int | None = None
    kv_width: int | None = None
    """Width of a token's keys in one layer (kv heads x head size), that of its values too; `hidden_size` when None."""
    weight_bits: int = 16
    """Bits per parameter of the served weights: 16 for bf16, 8 for fp8, 4 for AWQ."""
    prefill_tokens_per_s: float | None = None
    """Measured prompt throughput of the serving GPU, for the `gpu_seconds` cost model."""
    decode_tokens_per_s: float | None = None
    """Measured generation throughput of the serving GPU, for the `gpu_seconds` cost model."""

    def __post_init__(self) -> None:
        require(TEXT, self.name, "a model's name")
        if not _MODEL_NAME.fullmatch(self.name):
            raise ConfigError(f"model name {self.name!r} must be non-empty, without spaces or any of = * ; ,")
        require_fields(self, f"model {self.name!r}", _MODEL_FIELDS)
        if not self.served_name:
            object.__setattr__(self, "served_name", self.name)


_MODEL_FIELDS = {
    "parameters": POSITIVE,
    **dict.fromkeys(("served_name", "api_key_env", "revision"), TEXT),
    "base_url": TEXT.or_none,
    **dict.fromkeys(("usd_per_million_prompt_tokens", "usd_per_million_completion_tokens"), NOT_NEGATIVE.or_none),
    **dict.fromkeys(("layers", "hidden_size", "kv_width"), COUNT.or_none),
    "weight_bits": COUNT,
    **dict.fromkeys(("prefill_tokens_per_s", "decode_tokens_per_s"), POSITIVE.or_none),
}


@identified("sampling", version=1)
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one sample is drawn. The defaults are the paper's (temperature 0.9, section A.4).

    Raises:
        ConfigError: On a field of another type or range.
    """

    temperature: float = 0.9
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request body that a server understands (top_k, min_p, ...)."""

    def __post_init__(self) -> None:
        require_fields(self, "sampling", _SAMPLING_FIELDS)
        object.__setattr__(self, "stop", members(self.stop, TEXT, "sampling: stop"))


_SAMPLING_FIELDS = {"temperature": NOT_NEGATIVE, "top_p": FRACTION, "max_tokens": COUNT, "extra": MAPPING}


@identified("subtask_input", version=1)
@dataclass(frozen=True)
class SubtaskInput:
    """What a subtask sees of one example: the example's fields and the outputs of the subtasks before it."""

    example: Example
    inputs: Mapping[str, Any] = field(default_factory=dict)


class SubtaskRun(Protocol):
    """The metered handle through which a subtask draws samples while it runs.

    A user's coroutine (`Subtask.run`) and the aggregators receive it; every draw goes through the sample pool, so it
    is recorded, counted, reused and never bought twice.
    """

    @property
    def subtask(self) -> Subtask: ...
    @property
    def model(self) -> Model: ...
    @property
    def samples(self) -> int: ...
    @property
    def input(self) -> SubtaskInput: ...
    @property
    def messages(self) -> Sequence[Message]:
        """The rendered prompt; empty when the whole stage is a coroutine."""
        ...

    def count_unparsable(self) -> None:
        """Count one sample that could not be used."""
        ...

    async def draw(
        self, messages: Sequence[Message], samples: int | None = None, *, sampling: Sampling | None = None
    ) -> list[str]:
        """Return the first `samples` completions of these messages (the allocation's number when None)."""
        ...

    async def embed(self, text: str) -> Sequence[float]:
        """Return the text's embedding by the environment's embedding model."""
        ...


class StepRun(SubtaskRun, Protocol):
    """The handle of one subtask for a pipeline that is a function (`Pipeline.run`)."""

    async def ask(self, messages: Sequence[Message] | str) -> Any:
        """The subtask's output for these messages: the allocation's samples of its model, parsed and aggregated.

        Raises:
            ParseError: When no sample can be used and the subtask has no default.
            EndpointError: When the model's endpoint refuses or keeps failing.
        """
        ...

    async def reply(self, messages: Sequence[Message] | str) -> str:
        """As `ask`, but the whole first sample that was parsed as the output: for code that parses for itself."""
        ...


@runtime_checkable
class Aggregator(Protocol):
    """Turns the parsed samples of one subtask into its one output."""

    @property
    def name(self) -> str: ...

    async def aggregate(self, parsed: Sequence[Any], run: SubtaskRun) -> Any:
        """Return the output; `parsed` holds the usable samples in draw order and is never empty."""
        ...

    def extra_tokens(self, samples: Any, prompt_tokens: float, completion_tokens: float) -> tuple[Any, Any]:
        """Prompt and completion tokens of the aggregator's own calls, vectorised over `samples`.

        Args:
            samples: Sample counts, a number or an array.
            prompt_tokens: Mean prompt length of the subtask (Np).
            completion_tokens: Mean generation length of the subtask (Nd).
        """
        ...


Prompt = str | Callable[[SubtaskInput], str | Sequence[Message]]
Parser = Callable[[str, SubtaskInput], Any]
Metric = Callable[[Any, Example], float]
Coroutine = Callable[[SubtaskRun], Awaitable[Any]]
Program = Callable[[Example, Mapping[str, StepRun]], Awaitable[Any]]


@identified("parsers.text", version=1)
def text(sample: str, _: SubtaskInput) -> str:
    """The default parser: the sample without surrounding white space."""
    return sample.strip()


@identified(
    "subtask",
    version=1,
    # `after` counts by the names that it stands for (`Pipeline.fingerprints`).
    unscored=("after", "prompt_tokens", "completion_tokens", "max_samples", "sample_counts"),
)
@dataclass(frozen=True)
class Subtask:
    """One stage of a pipeline.

    Give either a `prompt` (with `parser` and `aggregator`) or `run`, a coroutine that is the whole stage and draws
    through its handle; or neither, where the whole pipeline is one function (`Pipeline.run`). A string prompt is a
    Jinja template over the example's fields and the names of the subtasks before it; a callable returns the user
    message or a list of messages.

    Raises:
        ConfigError: On an unusable name, no or duplicate models, or a field of another type or range.
    """

    name: str
    models: tuple[Model, ...]
    prompt: Prompt | None = None
    _: KW_ONLY
    system: str | None = None
    """System message put before a string prompt."""
    parser: Parser = text
    """Sample -> value; raises `errors.ParseError` (or returns None) for an unusable sample, a counted non-vote."""
    aggregator: Aggregator | None = None
    """Samples -> output; majority vote when None. Of a `run` coroutine it prices the calls beyond the first turn's."""
    default: Any = None
    """Output when none of the samples is usable; None makes the example fail."""
    metric: Metric | None = None
    """Optional score of this subtask's output in [0, 1]: evidence for the search, not its objective."""
    run: Coroutine | None = None
    """A coroutine that is the whole stage, instead of prompt, parser and aggregator."""
    after: tuple[str, ...] | None = None
    """Names of the subtasks whose outputs this one reads; None means the one declared before it."""
    prompt_tokens: float = 1024
    """Mean prompt length in tokens (the paper's Np)."""
    completion_tokens: float = 256
    """Mean length of one sample in tokens (the paper's Nd)."""
    max_samples: int | None = 100
    """Largest number of samples the search may try; None leaves the budget as the only bound."""
    sample_counts: tuple[int, ...] | None = None
    """The numbers of samples the search may try, kept in ascending order; None means every one from 1 on."""
    sampling: Sampling = field(default_factory=Sampling)

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
        _reject_duplicates(f"{where} lists the model", [model.name for model in self.models])
        if self.prompt is not None and self.run is not None:
            raise ConfigError(f"{where} has both a prompt and a run coroutine: give it one of them")
        if self.run is not None and not inspect.iscoroutinefunction(self.run):
            raise ConfigError(f"{where}: run must be an async function, not {self.run!r}")
        require_fields(self, where, _SUBTASK_FIELDS)
        if self.sample_counts is not None:
            object.__setattr__(self, "sample_counts", self._checked_counts(self.sample_counts))

    def _checked_counts(self, counts: Sequence[int]) -> tuple[int, ...]:
        where = f"subtask {self.name!r}: sample_counts"
        if not counts:
            raise ConfigError(f"{where} is empty: list at least one number, or leave it None for every number")
        for count in counts:
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ConfigError(f"{where} must be whole numbers >= 1, not {count!r}")
        if self.max_samples is not None and max(counts) > self.max_samples:
            raise ConfigError(f"{where} go up to {max(counts)}, over max_samples={self.max_samples}: raise that")
        return tuple(sorted(set(counts)))

    def _identity(self) -> dict[str, Any]:
        """No aggregator is the majority vote, but to a coroutine, which may take it as it likes."""
        return {"aggregator": MAJORITY_VOTE} if self.aggregator is None and self.run is None else {}

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


_MODEL = instance(Model, "Model objects")
_NAME = TEXT._replace(words="names of subtasks")
_SUBTASK = instance(Subtask, "Subtask objects")
_SUBTASK_FIELDS = {
    "prompt": Kind(
        "a Jinja template or a function", lambda prompt: isinstance(prompt, str) or callable(prompt)
    ).or_none,
    "system": TEXT.or_none,
    "parser": FUNCTION,
    "aggregator": instance(Aggregator, "an aggregator such as MajorityVote()").or_none,
    "metric": FUNCTION.or_none,
    **dict.fromkeys(("prompt_tokens", "completion_tokens"), POSITIVE),
    "max_samples": COUNT.or_none,
    "sampling": instance(Sampling, "a Sampling"),
}


@identified("pipeline", version=1, unscored=("name", "only"))
@dataclass(frozen=True)
class Pipeline:
    """Subtasks in a directed acyclic graph, and the metric of the last one's output.

    Raises:
        ConfigError: On no subtasks, duplicate names, an `after` that is dangling or cyclic, or a field of another
            type.
    """

    name: str
    subtasks: tuple[Subtask, ...]
    metric: Metric
    """(output, example) -> score in [0, 1]: what the search maximises. The output is the last declared subtask's, or
    what `run` returns."""
    run: Program | None = None
    """A coroutine that is the whole pipeline: (example, subtask name -> handle) -> output. Its subtasks then have
    neither prompt nor coroutine; it asks each through its handle, in whatever order."""
    only: frozenset[str] | None = None
    """Keys of the allocations (`Allocation.key`) that the search may try, such as those with a row in a table; None
    means every combination of models and numbers of samples."""

    def __post_init__(self) -> None:
        require(TEXT, self.name, "a pipeline's name")
        where = f"pipeline {self.name!r}"
        object.__setattr__(self, "subtasks", members(self.subtasks, _SUBTASK, f"{where}: subtasks"))
        if not self.subtasks:
            raise ConfigError(f"{where} has no subtasks")
        require(FUNCTION, self.metric, f"{where}: metric")
        _reject_duplicates(f"pipeline {self.name!r} names the subtask", [s.name for s in self.subtasks])
        if self.run is not None and not inspect.iscoroutinefunction(self.run):
            raise ConfigError(f"{where}: run must be an async function, not {self.run!r}")
        for subtask in self.subtasks:
            self._require_one_way_to_run(subtask)
            for parent in self.parents(subtask.name):
                self.subtask(parent)
        self.order  # noqa: B018  (raises on a cycle)

    def _require_one_way_to_run(self, subtask: Subtask) -> None:
        declared = subtask.prompt is not None or subtask.run is not None
        if declared and self.run is not None:
            raise ConfigError(
                f"pipeline {self.name!r} is run by a function of its own: leave the prompt and the run coroutine of "
                f"subtask {subtask.name!r} out"
            )
        if not declared and self.run is None:
            raise ConfigError(
                f"subtask {subtask.name!r} needs a prompt or a run coroutine, or its pipeline a `run` that is all of it"
            )

    def subtask(self, name: str) -> Subtask:
        """The subtask of this name.

        Raises:
            ConfigError: When there is none; the message lists those there are.
        """
        for subtask in self.subtasks:
            if subtask.name == name:
                return subtask
        known = ", ".join(subtask.name for subtask in self.subtasks)
        raise ConfigError(f"pipeline {self.name!r} has no subtask {name!r}; it has {known}")

    def parents(self, name: str) -> tuple[str, ...]:
        """Names of the subtasks whose outputs this subtask reads."""
        names = [subtask.name for subtask in self.subtasks]
        position = names.index(name)
        after = self.subtasks[position].after
        if after is not None:
            return after
        return (names[position - 1],) if position else ()

    @cached_property
    def order(self) -> tuple[Subtask, ...]:
        """The subtasks in an order in which each comes after those it reads."""
        done: dict[str, Subtask] = {}
        waiting = list(self.subtasks)
        while waiting:
            ready = [s for s in waiting if all(parent in done for parent in self.parents(s.name))]
            if not ready:
                cycle = ", ".join(s.name for s in waiting)
                raise ConfigError(f"pipeline {self.name!r}: the `after` of {cycle} form a cycle")
            done.update((subtask.name, subtask) for subtask in ready)
            waiting = [s for s in waiting if s.name not in done]
        return tuple(done.values())

    @property
    def final(self) -> Subtask:
        """The subtask whose output the metric scores: the last declared."""
        return self.subtasks[-1]

    @property
    def models(self) -> tuple[Model, ...]:
        """Every distinct model that some subtask can use."""
        return tuple(dict.fromkeys(model for subtask in self.subtasks for model in subtask.models))

    @property
    def sizes(self) -> dict[str, dict[str, float]]:
        """Subtask -> model -> parameter count, in declared order."""
        return {s.name: {model.name: model.parameters for model in s.models} for s in self.subtasks}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Content hashes of the parts that decide scores: each subtask with what it reads, and the metric."""
        parts = {
            f"subtask {s.name!r}": fingerprint(describe(s) + describe(self.parents(s.name))) for s in self.subtasks
        }
        program = {} if self.run is None else {"the pipeline's function": fingerprint(describe(self.run))}
        return {**parts, **program, "the metric": fingerprint(describe(self.metric) + self.final.name)}

    @property
    def fingerprint(self) -> str:
        """One hash of everything that decides scores: prompts, parsers, models, aggregators, metrics."""
        return combined(self.fingerprints)

    @cached_property
    def uncovered(self) -> tuple[str, ...]:
        """What the fingerprints cannot read, in words: a change there goes unnoticed. See `fingerprint.uncovered`."""
        return uncovered(self)

    def with_lengths(self, lengths: Mapping[str, tuple[float, float]]) -> Pipeline:
        """A copy whose subtasks declare these measured (prompt, completion) token lengths."""
        return replace(
            self,
            subtasks=tuple(
                replace(
                    s,
                    prompt_tokens=lengths.get(s.name, (s.prompt_tokens, s.completion_tokens))[0],
                    completion_tokens=lengths.get(s.name, (s.prompt_tokens, s.completion_tokens))[1],
                )
                for s in self.subtasks
            ),
        )

    def with_revision(self, revision: str) -> Pipeline:
        """A copy whose models all have this revision."""
        return replace(
            self,
            subtasks=tuple(
                replace(s, models=tuple(replace(model, revision=revision) for model in s.models)) for s in self.subtasks
            ),
        )


def _reject_duplicates(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{what} {name!r} twice: names must be unique")
