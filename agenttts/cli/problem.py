"""What the command line is told to search: an environment, its servers, a cost and a budget.

All of it is checked before a store is opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agenttts._util.numbers import as_budget, parse_amount, plain
from agenttts.calibration.file import Calibration, read_throughput
from agenttts.deployment.file import allocation_in
from agenttts.environments import environment
from agenttts.environments.live import LiveEnvironment
from agenttts.errors import ConfigError
from agenttts.llm.endpoint import shown_url
from agenttts.llm.lanes import MAX_IN_FLIGHT
from agenttts.pipeline import Pipeline
from agenttts.posterior.frontier import require_budgets
from agenttts.protocols import Environment
from agenttts.serving import Serving
from agenttts.space import Allocation, SearchSpace
from agenttts.space.cost import CostModel, GpuSecondsCost, cost_model
from agenttts.space.landmarks import landmarks, usual
from agenttts.space.throughput import with_throughput

_DEFAULT_COST = "flops"
_MOST_BUDGETS = 1000


class Waiting(NamedTuple):
    """How the environment's endpoints are waited for; None leaves it as it is."""

    give_up_after: float | None = None
    """Minutes without any answer."""
    timeout: float | None = None
    """Seconds of one request."""
    max_in_flight: int | None = None
    retries: int | None = None

    def apply(self, environment: Environment) -> None:
        """Let the environment's client wait so.

        Raises:
            ConfigError: On a time that is none.
        """
        for option, what, value in (("--give-up-after", "minutes", self.give_up_after),
                                    ("--timeout", "seconds", self.timeout)):  # fmt: skip
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{option} must be {what}, more than 0, not {value:g}")
        if isinstance(environment, LiveEnvironment):
            environment.wait(
                timeout_s=self.timeout,
                max_retries=self.retries,
                max_in_flight=self.max_in_flight,
                give_up_after_s=None if self.give_up_after is None else 60 * self.give_up_after,
            )


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is searched: an environment and the allocations that fit its budget."""

    env: str
    """The name that the environment was found by."""
    data: str | None = None
    """Where its examples are, for one that brings none."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Model -> URL, as given."""
    environment: Environment
    space: SearchSpace
    budgets: tuple[float, ...] = ()
    """Where there are several: all of them, ascending, that of the space last."""
    calibration: Calibration | None = None
    """What models were measured to do, where the budget counts that."""

    @classmethod
    def create(
        cls,
        env: str,
        *,
        budget: str | None,
        cost: str | None,
        budgets: str | None = None,
        data: str | None = None,
        endpoints: Sequence[str] = (),
        serving: Callable[[Pipeline], Serving] | None = None,
        throughput: Path | None = None,
        parallel: int = 1,
        waiting: Waiting | None = None,
    ) -> Problem:
        """Find the environment and work out the space.

        Raises:
            ConfigError: On an unknown environment or cost model, a budget that is missing or too small, or a
                time that is none.
        """
        several = () if budgets is None else _parse_budgets(budgets)
        if several and budget is not None:
            raise ConfigError("--budget and --budgets exclude each other: give one of them")
        urls = parse_endpoints(endpoints)
        found = environment(env, data=data, endpoints=urls, serving=serving)
        if waiting is not None:
            waiting.apply(found)
        default = found.default_budget
        name = cost or (default.cost_model if default else _DEFAULT_COST)
        calibration = None if throughput is None else _calibration(throughput, found, name, parallel)
        pipeline = with_throughput(found.pipeline, calibration.throughputs) if calibration else found.pipeline
        if several or budget is not None:
            amount = several[-1] if several else parse_budget(budget or "", cost_model(name).unit)
        elif default is not None and name == default.cost_model:
            amount = default.amount
        else:
            raise _BudgetMissing(found.name, pipeline, cost_model(name))
        return cls(
            env=env,
            data=data,
            endpoints=urls,
            environment=found,
            space=SearchSpace(pipeline, cost_model(name), amount),
            budgets=several,
            calibration=calibration,
        )

    def baseline(self, file: Path | None) -> Allocation:
        """What is used today: what a file holds, or the largest models that fit, once."""
        return usual(self.space) if file is None else allocation_in(file)

    @property
    def budget_name(self) -> str:
        """The budget, or the budgets in short."""
        count = len(self.budgets)
        return f"{plain(self.budgets[0])}to{plain(self.budgets[-1])}x{count}" if count else plain(self.space.budget)

    def heading(self, recorded: str, *more: tuple[str, str]) -> Iterator[tuple[str, str]]:
        """What a reader of the output needs to know of it, and more.

        Args:
            recorded: What the samples are where no model gives them, as the entered environment says.
            more: Further lines, each a label and a text.
        """
        environment, space = self.environment, self.space
        held_out = f", {len(environment.held_out)} held out" if environment.held_out else ""
        label = f" ({recorded})" if recorded else ""
        size = f"{space.size:,} allocations cost at most {space.scale.rate(space.budget)}"
        if space.listed is not None:
            size += " and are recorded; the other combinations are not tried"
        if self.budgets:
            size += f"; budgets {', '.join(map(space.scale.number, self.budgets))} {space.scale.unit}"
        yield "environment", f"{environment.name}: {len(environment.examples)} examples{held_out}{label}"
        if self.data is not None:
            yield "data", self.data
        yield "space", size
        if self.calibration is not None:
            yield "throughput", str(self.calibration)
        yield from more


class _BudgetMissing(ConfigError):
    """No budget was given, and the environment has none for this cost: says what some allocations cost.

    Args:
        name: The environment's name.
        pipeline: What is priced.
        model: What prices it.
    """

    def __init__(self, name: str, pipeline: Pipeline, model: CostModel) -> None:
        found = landmarks(pipeline, model)
        once = next(each.cost for each in found if each.name == "largest once")
        shown = model.scale(once)
        known = [f"{each.name} {shown.show(each.cost)} ({each.allocation})" for each in found if each.allocation]
        if len(known) < len(found):
            known.append("largest without bound, as no max_samples is given")
        super().__init__(
            f"environment {name!r} has no default budget for this cost: give --budget. One query costs: "
            f"{'; '.join(known)}. To do better at the price of the largest models once: "
            f"--budget {as_budget(once, model.unit)}"
        )


def parse_budget(text: str, unit: str) -> float:
    """A budget as `--budget` takes it.

    Raises:
        ConfigError: When it is no amount of the unit.
    """
    try:
        return parse_amount(text, unit)
    except ValueError as error:
        own = " or with a prefix, as in 2.8PFLOP" if unit.endswith("FLOP") else ""
        raise ConfigError(f"--budget takes an amount in {unit}, as in 0.5{own}, not {text!r}") from error


def _parse_budgets(text: str) -> tuple[float, ...]:
    """Budgets as listed, or evenly spaced from start to stop."""
    try:
        if ":" not in text:
            found = _finite(text.split(","))
        else:
            *ends, count = text.split(":")
            start, stop = _finite(ends)
            if not 2 <= int(count) <= _MOST_BUDGETS:
                raise ValueError(f"a range of {count}")
            found = tuple(np.linspace(start, stop, int(count)).tolist())
        if len(found) > _MOST_BUDGETS:
            raise ValueError(f"a list of {len(found)}")
    except ValueError as error:
        raise ConfigError(
            f"--budgets takes numbers, as in 300,600,900, or start:stop:count with a count of at least 2, as in "
            f"300:900:3, and {_MOST_BUDGETS:,} at most, not {text[:60]!r}"
        ) from error
    require_budgets(found, found[-1])
    return found


def _finite(texts: Sequence[str]) -> tuple[float, ...]:
    numbers = tuple(map(float, texts))
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number without end, or none")
    return numbers


def parse_endpoints(given: Sequence[str]) -> dict[str, str]:
    """Model name -> URL, of texts MODEL=URL.

    Raises:
        ConfigError: On a text of another form, or a model that is named twice.
    """
    found: dict[str, str] = {}
    for text in given:
        model, _, url = text.partition("=")
        if not model or not url.startswith(("http://", "https://")):
            raise ConfigError(f"--endpoint takes MODEL=URL, as in m=http://localhost:8000/v1, not {shown_url(text)!r}")
        if model in found:
            raise ConfigError(f"--endpoint names the model {model!r} twice: give each one URL")
        found[model] = url
    return found


def _calibration(file: Path, found: Environment, cost: str, parallel: int) -> Calibration:
    """What the models of an environment were measured to do, with as many requests at once as a search may have."""
    if cost != GpuSecondsCost.name:
        raise ConfigError(f"--throughput is what gpu_seconds are priced by, not {cost}: give --cost gpu_seconds")
    return read_throughput(file, found.pipeline, at_most=min(MAX_IN_FLIGHT, parallel * len(found.examples)))
