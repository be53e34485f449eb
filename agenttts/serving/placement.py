"""Which GPUs each model goes on, from numbers alone: no GPU is looked at, and nothing starts.

A server needs, on each of its cards, its share of the weights, its share of a KV cache, and the engine's own memory
(CUDA context, graphs, activations). Weights come from the parameter count and the bits per parameter; names round down
("7B" has 7.6e9), so up to a tenth is added, 0.8e9 at most; quantised weights leave the embeddings in 16 bits.

Models that do not fit all at once are put in shifts that are awake one after the other. Sleeping servers (vLLM's sleep
mode, level 1) keep the engine's own memory on the GPU and their weights in the host's; where one of these is too
small, the servers are stopped and started instead.

Packing is first-fit decreasing: a plan that exists may be missed, but none is over a card's memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agenttts.errors import ConfigError
from agenttts.pipeline import Model, Pipeline
from agenttts.pipeline.pairing import sampling_with

GIB = 2**30
USABLE = 0.92
"""Share of a card's free memory that is planned with: allocators fragment, and estimates err."""
LEAST_SEQUENCES, MOST_SEQUENCES = 4, 256
"""Sequences of full context that a server's KV cache holds: at least, or it is not placed; and at most."""
_FEWEST_TOKENS = 512
_FUSED_SAMPLES = 16
_LONGEST_OF_MEAN = 4
"""Times the mean length that a sample without `max_tokens` is taken to have at most."""
_MOST_UNNAMED = 0.8e9
_VOCABULARY = 152_064
"""Qwen2.5's, the largest of the paper's models."""
_QUANTISATION_BITS = 0.25
"""Scales and zero points per parameter, in groups of 128."""
_CONTEXT_GIB = 1.5
_ACTIVATION_BYTES = 8192 * 20
"""Per hidden unit: a batch of 8,192 tokens, its widened feed-forward activations in 16 bits."""

Swap = Literal["none", "sleep", "restart"]


@dataclass(frozen=True)
class Card:
    """A GPU."""

    index: int
    total_gib: float
    free_gib: float

    @property
    def usable_gib(self) -> float:
        """What is planned with."""
        return self.free_gib * USABLE


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What the server of one model needs, over all its cards."""

    name: str
    """Name of the model in allocations."""
    context: int
    """Most tokens of one sequence, prompt and completion."""
    weights_gib: float
    sequence_gib: float
    """KV cache of one sequence of full context."""
    engine_gib: float
    """The engine's own memory, on each card."""

    def shared_gib(self, cards: int, sequences: int = LEAST_SEQUENCES) -> float:
        """Weights and KV cache per card, when split over so many."""
        return (self.weights_gib + sequences * self.sequence_gib) / cards


@dataclass(frozen=True)
class Placed:
    """A model on its cards: several cards are one tensor-parallel server."""

    demand: Demand
    cards: tuple[int, ...]
    shift: int
    sequences: int
    """Sequences of full context that its KV cache holds."""

    @property
    def kv_gib(self) -> float:
        """KV cache per card."""
        return self.sequences * self.demand.sequence_gib / len(self.cards)

    @property
    def awake_gib(self) -> float:
        """Everything it holds on each of its cards while it is awake."""
        return self.demand.shared_gib(len(self.cards), self.sequences) + self.demand.engine_gib


@dataclass(frozen=True)
class Placement:
    """Every model once, in the order of the pipeline."""

    placed: tuple[Placed, ...]
    swap: Swap
    """How one shift frees the GPUs for the next; "none" when there is only one."""

    @property
    def shifts(self) -> int:
        """How many sets of models are awake one after the other."""
        return max((each.shift for each in self.placed), default=-1) + 1

    def used_gib(self, card: int, shift: int) -> float:
        """Memory held on a card while a shift is awake."""
        here = [each for each in self.placed if card in each.cards]
        asleep = sum(each.demand.engine_gib for each in here if each.shift != shift) if self.swap == "sleep" else 0.0
        return sum(each.awake_gib for each in here if each.shift == shift) + asleep


def contexts(pipeline: Pipeline) -> dict[Model, int]:
    """Tokens that one sequence of each model may take: twice the declared mean prompt, and the longest completion."""
    longest: dict[Model, int] = defaultdict(lambda: _FEWEST_TOKENS)
    for subtask in pipeline.subtasks:
        for pairing in subtask.pairings:
            for load in pairing.operator.loads(_FUSED_SAMPLES, subtask.lengths(pairing.model, pairing.options)):
                model = load.model or pairing.model
                lengths = subtask.lengths(model, pairing.options)
                most = (
                    sampling_with(subtask.sampling, pairing.options).max_tokens or _LONGEST_OF_MEAN * lengths.completion
                )
                tokens = 2 * float(max(load.prompt, lengths.prompt)) + most
                longest[model] = max(longest[model], 1 << int(tokens - 1).bit_length())
    return dict(longest)


def demand(model: Model, context: int, *, weights_bytes: float | None = None) -> Demand:
    """What a server of this model needs.

    Args:
        model: Its layers and hidden size must be declared.
        context: Most tokens of one sequence.
        weights_bytes: Size of its weights where they are at hand; estimated when None.

    Raises:
        ConfigError: On a model of unknown shape.
    """
    if model.parameters is None or model.layers is None or model.hidden_size is None:
        lacking = [name for name in ("parameters", "layers", "hidden_size") if getattr(model, name) is None]
        raise ConfigError(
            f"the memory of model {model.name!r} cannot be worked out: declare {' and '.join(lacking)} (and kv_width) "
            "on the Model"
        )
    kv_bytes = 2 * 2 * model.layers * (model.kv_width or model.hidden_size)
    return Demand(
        name=model.name,
        context=context,
        weights_gib=(_weights_bytes(model, model.parameters) if weights_bytes is None else weights_bytes) / GIB,
        sequence_gib=context * kv_bytes / GIB,
        engine_gib=_CONTEXT_GIB + _ACTIVATION_BYTES * model.hidden_size / GIB,
    )


def _weights_bytes(model: Model, named: float) -> float:
    parameters = named + min(named / 10, _MOST_UNNAMED)
    if model.weight_bits >= 16:
        return parameters * model.weight_bits / 8
    embeddings = min(2 * _VOCABULARY * (model.hidden_size or 0), parameters)
    return (parameters - embeddings) * (model.weight_bits + _QUANTISATION_BITS) / 8 + embeddings * 2


def place(demands: Sequence[Demand], cards: Sequence[Card], *, host_gib: float) -> Placement:
    """Put every model on cards, all at once if they fit, else in as few shifts as found.

    Args:
        demands: The models.
        cards: The GPUs.
        host_gib: Memory of the host that sleeping models may keep their weights in.

    Raises:
        ConfigError: On no GPU, or a model that does not fit even alone: how much is missing.
    """
    if not cards:
        raise ConfigError("there is no GPU to serve models on: run this where one is, or attach servers by --endpoint")
    usable = {card.index: card.usable_gib for card in cards}
    shifts = _packed(demands, usable, {each.name: each.engine_gib for each in demands})
    if isinstance(shifts, Demand):
        raise _shortage(shifts, sorted(usable.values(), reverse=True))
    swap: Swap = "none" if len(shifts) <= 1 else "restart"
    if swap == "restart" and sum(each.weights_gib for each in demands) <= host_gib:
        engines = sum(each.engine_gib for each in demands)
        left = {card: free - engines for card, free in usable.items()}
        asleep = _packed(demands, left, dict.fromkeys((each.name for each in demands), 0.0))
        if not isinstance(asleep, Demand):
            shifts, swap = asleep, "sleep"
    placed = [each for number, shift in enumerate(shifts) for each in shift.filled(number)]
    order = [each.name for each in demands]
    return Placement(tuple(sorted(placed, key=lambda each: order.index(each.demand.name))), swap)


class _Seat(NamedTuple):
    demand: Demand
    cards: tuple[int, ...]


class _Shift:
    """Models that are awake together, and what is left of the cards."""

    def __init__(self, free: Mapping[int, float]) -> None:
        self.free = dict(free)
        self.seats: list[_Seat] = []

    def takes(self, demand: Demand, engine_gib: float) -> bool:
        """Seat a model on as few cards as it needs, the emptiest; False when it does not fit."""
        width = 1
        while width <= len(self.free):
            need = demand.shared_gib(width) + engine_gib
            emptiest = sorted(self.free, key=lambda card: (-self.free[card], card))[:width]
            if all(self.free[card] >= need for card in emptiest):
                self.seats.append(_Seat(demand, tuple(sorted(emptiest))))
                for card in emptiest:
                    self.free[card] -= need
                return True
            width *= 2
        return False

    def filled(self, number: int) -> list[Placed]:
        """The models, with KV caches that share what is left: as many further sequences for each model of a card."""
        per_sequence: dict[int, float] = defaultdict(float)
        for seat in self.seats:
            for card in seat.cards:
                per_sequence[card] += seat.demand.sequence_gib / len(seat.cards)
        further = {card: int(self.free[card] / each) for card, each in per_sequence.items()}
        return [
            Placed(
                seat.demand,
                seat.cards,
                number,
                min(LEAST_SEQUENCES + min(further[card] for card in seat.cards), MOST_SEQUENCES),
            )
            for seat in self.seats
        ]


def _packed(
    demands: Sequence[Demand], usable: Mapping[int, float], engine_gib: Mapping[str, float]
) -> list[_Shift] | Demand:
    """Shifts that hold every model, the largest seated first; or the model that does not fit even alone."""
    shifts: list[_Shift] = []
    for each in sorted(demands, key=lambda one: (-one.weights_gib, one.name)):
        if not any(shift.takes(each, engine_gib[each.name]) for shift in shifts):
            shifts.append(_Shift(usable))
            if not shifts[-1].takes(each, engine_gib[each.name]):
                return each
    return shifts


def _shortage(demand: Demand, usable: Sequence[float]) -> ConfigError:
    """The error of a model that fits on no number of cards: what is missing where least is."""
    widths = [1 << power for power in range(len(usable).bit_length()) if 1 << power <= len(usable)]
    missing = {width: demand.shared_gib(width) + demand.engine_gib - usable[width - 1] for width in widths}
    width = min(widths, key=lambda each: missing[each] * each)
    where, which = ("a card", "which has") if width == 1 else (f"each of {width} cards", "which have at least")
    parts = (
        f"{demand.weights_gib / width:.1f} of weights, {LEAST_SEQUENCES * demand.sequence_gib / width:.1f} of KV "
        f"cache, {demand.engine_gib:.1f} of the engine's own"
    )
    return ConfigError(
        f"model {demand.name!r} does not fit: it needs {demand.shared_gib(width) + demand.engine_gib:.1f} GiB on "
        f"{where} ({parts}), {which} {usable[width - 1]:.1f} GiB to give: {missing[width]:.1f} GiB are missing"
        f"{' on each' if width > 1 else ''}; use quantised weights, a shorter context or more cards"
    )
