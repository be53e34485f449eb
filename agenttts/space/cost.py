"""Cost of ONE query of the deployed pipeline; a budget is an upper bound on it.

A cost model prices the requests that an operator makes (`Load`); a subtask costs the sum over its operator's loads, an
allocation the sum over its subtasks. What the search itself spends is another thing (`evaluation.Spend`) and never
enters here.

    paper        the paper's unit formula (section A.2), kept exact:  (M / 3e9) * (Np + S * Nd) / 64 - 2
                 Its defects are kept too: no attention, -2 once per subtask, and what an operator asks of the stage's
                 own model beyond its first samples is free, as the paper's fusion is.
    flops        MFLOP: 2 M per token, attention where the model's shape is known, the prompt encoded once per
                 request (all its samples share it)
    usd          US dollars, by the models' prices per million prompt and completion tokens; the prompt is paid
                 once per request of S samples, as `n=` is billed
    gpu_seconds  seconds of GPU time, by the models' measured prefill and decode throughput in a full batch: a query's
                 share of its servers' time (`agenttts calibrate` measures them, `--throughput` prices by them)
    kinetics     equivalent MFLOP: computation, and KV-cache traffic at the hardware's arithmetic intensity
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts._util.numbers import Scale, scale
from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Subtask
from agenttts.pipeline.operators import Load, Operator
from agenttts.pipeline.pairing import Options, Pairing
from agenttts.pipeline.tariff import needed_tariff

_MFLOP = 1e6
_B200_FLOP_PER_BYTE = 562.5
# The paper's reference pass (section 4.1): its smallest model on its least demanding subtask.
_PAPER_PARAMETERS = 3e9
_PAPER_COMPLETION_TOKENS = 64
_PAPER_OFFSET = 2


@dataclass(frozen=True)
class Budget:
    """A bound on the cost of one query: the amount, then the name of the cost model that counts it.

    Examples:
        >>> at.Budget(900, "flops")
        Budget(amount=900, cost_model='flops')

    Raises:
        ConfigError: When the amount is no number, or there is no such cost model.
    """

    amount: float
    """The most that one query may cost, in the cost model's unit."""
    cost_model: str
    """Name of the cost model whose unit `amount` is in: paper, flops, usd, gpu_seconds or kinetics."""

    def __post_init__(self) -> None:
        if isinstance(self.amount, str) or not isinstance(self.cost_model, str):
            raise ConfigError(
                f"a Budget takes the amount, then the cost model's name, as in Budget(900, 'flops'), not "
                f"Budget({self.amount!r}, {self.cost_model!r})"
            )
        cost_model(self.cost_model)


class CostModel(ABC):
    """What requests cost, and so what a subtask costs for one query. Non-decreasing in samples."""

    name: str
    """As in `--cost`."""
    unit: str
    """Of what one query costs, as in "MFLOP"."""
    learns: bool = True
    """Whether lengths that trials measure replace the declared ones."""

    def scale(self, budget: float) -> Scale:
        """How costs under a budget are shown, all on one scale."""
        return scale(self.unit, budget)

    @abstractmethod
    def price(self, model: Model, load: Load) -> Any:
        """Cost of a load in `unit`, vectorised: a float, or an array where the load has arrays.

        Args:
            model: Who is asked; `load.model` where that is set.
            load: What is asked.

        Raises:
            ConfigError: When the model lacks a figure that this cost model needs.
        """

    def cost(
        self,
        subtask: Subtask,
        model: Model,
        samples: Any,
        operator: Operator | None = None,
        options: Options | None = None,
    ) -> Any:
        """Cost of a subtask for one query, in the mean over queries.

        Args:
            subtask: The subtask.
            model: One of its models.
            samples: How many, or an array of numbers.
            operator: What is done with them; the subtask's first operator when None.
            options: How the subtask's options are set; their first values when None.

        Raises:
            ConfigError: As `price`.
        """
        used = operator or subtask.pairings[0].operator
        return self.total(model, used.loads(samples, subtask.lengths(model, options)))

    def pairing_cost(self, subtask: Subtask, pairing: Pairing, samples: Any) -> Any:
        """`cost` of a pairing of the subtask."""
        return self.cost(subtask, pairing.model, samples, pairing.operator, pairing.options)

    def total(self, model: Model, loads: Sequence[Load]) -> Any:
        """Cost of some loads of one subtask, whose own model is given."""
        return sum(self.price(load.model or model, load) for load in loads)

    def inverse(self, subtask: Subtask, model: Model, cost: float) -> float:
        """The largest real number of samples whose cost does not exceed `cost`; 0 when not even one fits."""
        if self.cost(subtask, model, 1) > cost:
            return 0.0
        low, high = 1.0, 2.0
        while self.cost(subtask, model, high) <= cost:
            low, high = high, high * 2
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if self.cost(subtask, model, middle) <= cost else (low, middle)
        return low


def paper_cost(parameters: float, prompt_tokens: float, completion_tokens: float, samples: Any) -> Any:
    """The paper's cost in its own unit: one pass of a 3B model with 128 prompt and 64 generated tokens.

    B = beta3 * (alpha * beta2 / beta1 * (beta1 + S) - 1) of section A.2, in closed form.
    """
    return _paper_passes(parameters, prompt_tokens, completion_tokens, samples) - _PAPER_OFFSET


def _paper_passes(parameters: float, prompt_tokens: Any, completion_tokens: Any, samples: Any) -> Any:
    per_token = parameters / _PAPER_PARAMETERS / _PAPER_COMPLETION_TOKENS
    return per_token * (prompt_tokens + np.multiply(samples, completion_tokens))


def paper_samples(cost: float, parameters: float, prompt_tokens: float, completion_tokens: float) -> float:
    """Inverse of `paper_cost`: the real number of samples that costs exactly `cost`."""
    tokens = (cost + _PAPER_OFFSET) * _PAPER_COMPLETION_TOKENS * _PAPER_PARAMETERS / parameters
    return (tokens - prompt_tokens) / completion_tokens


class PaperCost(CostModel):
    """The paper's unit formula; see the module docstring for what it leaves out."""

    name = "paper"
    unit = "unit"
    learns = False  # its lengths are those of the paper's table

    def price(self, model: Model, load: Load) -> Any:
        parameters = _needed(model, "parameters", self.name)
        return load.requests * _paper_passes(parameters, load.prompt, load.completion, load.choices)

    def total(self, model: Model, loads: Sequence[Load]) -> Any:
        own, *further = loads
        first = self.price(own.model or model, own) - _PAPER_OFFSET
        return first + sum(self.price(load.model, load) for load in further if load.model is not None)

    def inverse(self, subtask: Subtask, model: Model, cost: float) -> float:
        parameters = _needed(model, "parameters", self.name)
        lengths = subtask.lengths(model)
        samples = paper_samples(cost, parameters, lengths.prompt, lengths.completion)
        return max(samples, 0.0)


class FlopsCost(CostModel):
    """Floating-point operations of one query, in MFLOP (1e6).

    A request of p prompt tokens and S samples of g tokens takes 2 M (p + S g), plus, when the model's layers L and
    hidden size D are known, attention 2 L D p^2 + S * 4 L D (p g + g^2 / 2).
    """

    name = "flops"
    unit = "MFLOP"

    def price(self, model: Model, load: Load) -> Any:
        return load.requests * self._request(model, load.prompt, load.choices, load.completion) / _MFLOP

    def _request(self, model: Model, prompt: Any, samples: Any, completion: Any) -> Any:
        dense = 2 * _needed(model, "parameters", self.name) * (prompt + np.multiply(samples, completion))
        if model.layers is None or model.hidden_size is None:
            return dense
        width = model.layers * model.hidden_size
        decode = 4 * width * (prompt * completion + np.square(completion) / 2)
        return dense + 2 * width * np.square(prompt) + np.multiply(samples, decode)


class UsdCost(CostModel):
    """US dollars of one query at the models' prices, declared or listed (`tariff`)."""

    name = "usd"
    unit = "USD"

    def price(self, model: Model, load: Load) -> Any:
        prices = needed_tariff(model, f"the cost model {self.name!r}")
        return load.requests * prices.usd(load.prompt, np.multiply(load.choices, load.completion))


class GpuSecondsCost(CostModel):
    """Seconds of GPU time for one query, at the models' measured throughput.

    Throughputs are those of a server with a batch of requests under way, so this is the query's share of the server's
    time, not how long its user waits. A server on several GPUs takes as many GPU seconds in each second.
    """

    name = "gpu_seconds"
    unit = "GPU s"

    def price(self, model: Model, load: Load) -> Any:
        prefill = _needed(model, "prefill_tokens_per_s", self.name)
        decode = _needed(model, "decode_tokens_per_s", self.name)
        return load.requests * (load.prompt / prefill + np.multiply(load.choices, load.completion) / decode)


class KineticsCost(CostModel):
    """Equivalent floating-point operations of one query, in MFLOP (1e6): computation, and the KV cache that is read.

    eFLOPs = C_comp + C_mem * I ("Kinetics: Rethinking Test-Time Scaling Laws", Sadhukhan et al., arXiv 2506.05333). For
    S samples of g tokens after a prompt of p tokens, with L layers of KV width K and hidden size D, 2 bytes each:

        C_comp = S (2 M g + 2 L D (2 p + g) g)
        C_mem  = 2 L K (2 p + S g) g            bytes: the samples share the prompt's cache
        I      = 562.5                          FLOP per byte, the paper's figure for an NVIDIA B200

    As in the paper, encoding the prompt and reading the weights are left out: many requests share them in a batch. The
    formula is that of the authors' code (`dense_cost` in cost_model/utils.py), which writes L D and L K as heads times
    head size times layers.
    """

    name = "kinetics"
    unit = "eMFLOP"

    def price(self, model: Model, load: Load) -> Any:
        return load.requests * self._request(model, load.prompt, load.choices, load.completion) / _MFLOP

    def _request(self, model: Model, prompt: Any, samples: Any, completion: Any) -> Any:
        layers, hidden = _needed(model, "layers", self.name), _needed(model, "hidden_size", self.name)
        attention = 2 * layers * hidden * (2 * prompt + completion) * completion
        computed = np.multiply(samples, 2 * _needed(model, "parameters", self.name) * completion + attention)
        width = model.kv_width or hidden
        read = 2 * layers * width * (2 * prompt + np.multiply(samples, completion)) * completion
        return computed + read * _B200_FLOP_PER_BYTE


COST_MODELS: dict[str, type[CostModel]] = {
    model.name: model for model in (PaperCost, FlopsCost, UsdCost, GpuSecondsCost, KineticsCost)
}


def cost_model(name: str) -> CostModel:
    """The cost model of this name.

    Examples:
        >>> at.cost_model("flops").unit
        'MFLOP'

    Raises:
        ConfigError: When there is none.
    """
    if name not in COST_MODELS:
        raise ConfigError(f"there is no cost model {name!r}; choose one of {', '.join(COST_MODELS)}")
    return COST_MODELS[name]()


def _needed(model: Model, figure: str, cost_name: str) -> float:
    value: float | None = getattr(model, figure)
    if value is None or not value >= 0 or (figure.endswith("per_s") and value == 0):
        measured = "give --throughput FILE (`agenttts calibrate` writes one), or " if figure.endswith("per_s") else ""
        unknown = ", or take a budget in USD (--cost usd)" if figure == "parameters" else ""
        raise ConfigError(
            f"the cost model {cost_name!r} needs {figure} of model {model.name!r}: {measured}declare it on the Model"
            f"{unknown}"
        )
    return value
