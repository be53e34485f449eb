"""What a user declares: models, subtasks, and the pipeline that joins them.

Pure values: nothing here talks to a model. A pipeline is a directed acyclic graph of subtasks; each subtask draws
S samples from one model, parses each sample, and aggregates the parsed samples into one output, which the subtasks
after it receive. Everything is validated on construction, so a mistake surfaces before anything is paid for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from agenttts._util.checks import FUNCTION, NAME, TEXT, instance, members, reject_duplicates, require
from agenttts.errors import ConfigError
from agenttts.pipeline.command import Command
from agenttts.pipeline.fingerprint import SCHEME, combined, describe, fingerprint, identified, uncovered
from agenttts.pipeline.handles import AsyncMetric, Metric, Program
from agenttts.pipeline.model import Model
from agenttts.pipeline.subtask import Subtask

_SUBTASK = instance(Subtask, "Subtask objects")
_KEY = TEXT._replace(words="keys of allocations (Allocation.key)")


def subtask_part(name: str) -> str:
    """What a subtask is called among the parts of a pipeline that have fingerprints."""
    return f"subtask {name!r}"


@identified("pipeline", version=1, unscored=("name", "only", "command"))
@dataclass(frozen=True)
class Pipeline:
    """Subtasks in a directed acyclic graph, and the metric of the last one's output.

    Examples:
        >>> retrieve = at.Subtask("retrieve", (small, large), "{{ question }} {{ passages }}")
        >>> answer = at.Subtask("answer", (small, large), "{{ question }} {{ retrieve }}")
        >>> at.Pipeline("rag", (retrieve, answer), at.metrics.exact_match("gold")).parents("answer")
        ('retrieve',)

    Raises:
        ConfigError: On no subtasks, duplicate names, two different models of one name, an `after` that is dangling or
            cyclic, or a field of another type.
    """

    name: str
    """Shown in tables, and part of a study's identity."""
    subtasks: Sequence[Subtask]
    """In the order in which they are declared, kept as a tuple."""
    metric: Metric | AsyncMetric
    """(output, example) -> score in [0, 1]: what the search maximises. The output is the last declared subtask's, or
    what `run` returns. It may be a coroutine function, such as a judge; each call is given copies of its own."""
    run: Program | None = None
    """A coroutine that is the whole pipeline: (example, subtask name -> handle) -> output. Its subtasks then have
    neither prompt nor coroutine; it asks each through its handle, in whatever order."""
    only: Collection[str] | None = None
    """Keys of the allocations (`Allocation.key`) that the search may try, such as those with a row in a table; None
    means every combination of models and numbers of samples."""
    command: Command | Sequence[str] | None = field(default=None, kw_only=True)
    """A program in any language that is the whole pipeline, in place of `run`; a list of words is short for
    `Command(words)`, which says how it is given an example and asks its steps."""

    def __post_init__(self) -> None:
        require(NAME, self.name, "a pipeline's name")
        where = f"pipeline {self.name!r}"
        object.__setattr__(self, "subtasks", members(self.subtasks, _SUBTASK, f"{where}: subtasks"))
        if not self.subtasks:
            raise ConfigError(f"{where} has no subtasks")
        require(FUNCTION, self.metric, f"{where}: metric")
        reject_duplicates(f"pipeline {self.name!r} names the subtask", [s.name for s in self.subtasks])
        if self.run is not None and not inspect.iscoroutinefunction(self.run):
            raise ConfigError(f"{where}: run must be an async function, not {self.run!r}")
        if self.command is not None:
            if self.run is not None:
                raise ConfigError(f"{where} has a run function and a command: it is run by one of them")
            given = self.command if isinstance(self.command, Command) else Command(self.command)
            object.__setattr__(self, "command", given)
        for subtask in self.subtasks:
            self._require_one_way_to_run(subtask)
            for parent in self.parents(subtask.name):
                self.subtask(parent)
                if parent in subtask.options:
                    raise ConfigError(
                        f"subtask {subtask.name!r}: its option {parent!r} is named like a subtask: rename it"
                    )
        self._require_one_model_a_name()
        self._require_only()
        self.order  # noqa: B018  (raises on a cycle)

    def _require_one_model_a_name(self) -> None:
        """Make sure that a name is one model: endpoints, prices and tables go by the name."""
        known: dict[str, tuple[str, Model]] = {}
        for subtask in self.subtasks:
            for model in subtask.every_model:
                owner, first = known.setdefault(model.name, (subtask.name, model))
                odd = next((f.name for f in fields(Model) if getattr(model, f.name) != getattr(first, f.name)), None)
                if odd is not None:
                    raise ConfigError(
                        f"pipeline {self.name!r}: model {model.name!r} has {odd}={getattr(first, odd)!r} in subtask "
                        f"{owner!r} and {getattr(model, odd)!r} in {subtask.name!r}: give one of them another name"
                    )

    def _require_only(self) -> None:
        if self.only is None:
            return
        where = f"pipeline {self.name!r}: only"
        object.__setattr__(self, "only", frozenset(members(self.only, _KEY, where)))
        if not self.only:
            raise ConfigError(f"{where} is empty: list at least one key, or leave it None for every allocation")

    def _require_one_way_to_run(self, subtask: Subtask) -> None:
        declared = subtask.prompt is not None or subtask.run is not None
        if declared and self.is_program:
            whole = "function" if self.command is None else "command"
            raise ConfigError(
                f"pipeline {self.name!r} is run by a {whole} of its own: leave the prompt and the run coroutine of "
                f"subtask {subtask.name!r} out"
            )
        if not declared and not self.is_program:
            raise ConfigError(
                f"subtask {subtask.name!r} needs a prompt or a run coroutine, or its pipeline a `run` or `command` "
                "that is all of it"
            )

    @property
    def is_program(self) -> bool:
        """Whether one function or command is all of it."""
        return self.run is not None or self.command is not None

    @property
    def started(self) -> Command | None:
        """The command that is started for its examples; None where it is no command."""
        return self.command if isinstance(self.command, Command) else None

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
            return tuple(after)
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
        """Every distinct model that some subtask, or one of its operators, can ask."""
        return tuple(dict.fromkeys(model for subtask in self.subtasks for model in subtask.every_model))

    @property
    def sizes(self) -> dict[str, dict[str, float]]:
        """Subtask -> pairing (a model, and what is not the first of its kind) -> size (`Subtask.sizes`)."""
        return {s.name: {each.name: s.sizes[each.model.name] for each in s.pairings} for s in self.subtasks}

    def _identity(self) -> Mapping[str, Command]:
        # Pipelines without a command are what they were before there were any.
        return {} if self.started is None else {"command": self.started}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Content hashes of the parts that decide scores: each subtask with what it reads, and the metric."""
        parts = {subtask_part(s.name): self._fingerprint(s) for s in self.subtasks}
        scheme = dict([SCHEME])
        program = {} if self.run is None else {"the pipeline's function": fingerprint(describe(self.run))}
        if self.command is not None:
            program = {"the pipeline's command": fingerprint(describe(self.command))}
        return {**scheme, **parts, **program, "the metric": fingerprint(describe(self.metric) + self.final.name)}

    def _fingerprint(self, subtask: Subtask) -> str:
        return fingerprint(describe(subtask) + describe(self.parents(subtask.name)))

    @cached_property
    def candidates(self) -> Mapping[str, Mapping[str, str]]:
        """Subtask -> candidate model -> fingerprint of the subtask with that model alone."""
        return {s.name: {model.name: self._fingerprint(s.only((model,))) for model in s.models} for s in self.subtasks}

    @property
    def fingerprint(self) -> str:
        """One hash of everything that decides scores: prompts, parsers, models, aggregators, metrics."""
        return combined(self.fingerprints)

    @cached_property
    def uncovered(self) -> tuple[str, ...]:
        """What the fingerprints cannot read, in words: a change there goes unnoticed. See `fingerprint.uncovered`."""
        command = () if self.started is None else (self.started.uncovered,)
        return (*uncovered(self), *command)

    def with_lengths(self, lengths: Mapping[str, tuple[float, float] | Mapping[str, tuple[float, float]]]) -> Pipeline:
        """A copy whose subtasks declare these measured (prompt, completion) token lengths.

        Args:
            lengths: Subtask -> lengths with every model, or model -> lengths with it; what is not named stays.
        """
        return replace(self, subtasks=tuple(s.with_lengths(lengths.get(s.name, {})) for s in self.subtasks))

    def with_revision(self, revision: str) -> Pipeline:
        """A copy whose models all have this revision."""
        return self.with_models(lambda model: replace(model, revision=revision))

    def with_models(self, change: Callable[[Model], Model]) -> Pipeline:
        """A copy with every one of its models changed."""
        return replace(self, subtasks=tuple(subtask.with_models(change) for subtask in self.subtasks))
