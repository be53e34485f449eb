"""What an operator is: how a stage turns samples into its one output, and what requests that takes.

`samples` is how much, the operator is how. An operator draws through the handle of its stage (`SubtaskRun`), which
alone counts, pays and reuses; it states what it will draw as `Load`s, the one currency of operators and cost models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from agenttts.pipeline.model import Message, Model, Sampling
from agenttts.pipeline.tools import ToolCall, calls_message, message_text, read_calls

if TYPE_CHECKING:
    from agenttts.pipeline.handles import SubtaskInput
    from agenttts.pipeline.subtask import Subtask

Amount = Any
"""A number, or an array with an entry for each number of samples."""
TokenLogprobs = tuple[tuple[str, float], ...]
"""One token of a sample: its text with its log probability, then those of the alternatives that were told."""


class Lengths(NamedTuple):
    """Mean lengths of a stage with its own model, in tokens.

    Examples:
        >>> at.operators.Lengths(100, 20).of(small).completion
        20
    """

    prompt: float
    """Of its prompt (the paper's Np)."""
    completion: float
    """Of one sample (the paper's Nd)."""
    by_model: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """Model -> its (prompt, completion), where models differ."""

    def of(self, model: Model) -> Lengths:
        """Those of another model that the stage's operator asks with the stage's prompt."""
        prompt, completion = self.by_model.get(model.name, (self.prompt, self.completion))
        return self._replace(prompt=prompt, completion=completion)


class Load(NamedTuple):
    """One kind of request that an operator makes for one query.

    Examples:
        >>> at.operators.Load(requests=1, prompt=1024, choices=8, completion=256)
        Load(requests=1, prompt=1024, choices=8, completion=256, model=None)
    """

    requests: Amount
    """How many; a mean where that depends on the query."""
    prompt: Amount
    """Tokens of each prompt."""
    choices: Amount
    """Samples that each request asks for."""
    completion: Amount
    """Tokens of each sample."""
    model: Model | None = None
    """Who is asked; None means the stage's own model."""


@dataclass(frozen=True)
class Drawn:
    """One sample, as an operator sees it."""

    text: str
    """What the model answered."""
    value: Any
    """What the stage's parser makes of it; None for a sample that cannot be used."""
    tokens: int
    """Of its completion."""
    ended: str = ""
    """Why it holds no answer ("refused", "cut" at the token limit before it said anything, "empty"), or not a whole one
    ("unfinished"); empty for a whole one."""
    calls: Sequence[ToolCall] = ()
    """The calls of tools that it makes; its value is then the list of their names and arguments."""
    logprobs: Sequence[TokenLogprobs] = ()
    """Of its tokens, where they were asked for (`Sampling(extra={"logprobs": True, "top_logprobs": 5})`) and told."""

    @property
    def message(self) -> Message:
        """What the model said, as a message: what a conversation goes on with."""
        return calls_message(read_calls(self.text)[0] if self.calls else self.text, self.calls)


def usable_of(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Those of some answers that can be used: whole ones, where there are any.

    Where an answer was cut off, what it seems to say may be another than what it would have said.
    """
    usable = [each for each in drawn if each.value is not None]
    return [each for each in usable if not each.ended] or usable


class SubtaskRun(Protocol):
    """The metered handle through which a subtask draws samples while it runs.

    A user's coroutine (`Subtask.run`), the operators and the aggregators receive it; every draw goes through the sample
    pool, so it is recorded, counted, reused and never paid for twice.
    """

    @property
    def subtask(self) -> Subtask: ...
    @property
    def model(self) -> Model:
        """The allocation's model."""
        ...

    @property
    def samples(self) -> int:
        """The allocation's number of samples."""
        ...

    @property
    def input(self) -> SubtaskInput: ...
    @property
    def messages(self) -> Sequence[Message]:
        """The rendered prompt; empty when the whole stage is a coroutine."""
        ...

    async def draw(
        self, messages: Sequence[Message], samples: int | None = None, *, sampling: Sampling | None = None
    ) -> list[str]:
        """Return the first `samples` completions of these messages (the allocation's number when None)."""
        ...

    async def embed(self, text: str) -> Sequence[float]:
        """Return the text's embedding by the environment's embedding model."""
        ...

    async def reward(self, messages: Sequence[Message], *, model: Model, probability: bool = False) -> float:
        """What a reward model, which vLLM serves for pooling, gives a conversation: the last number of its last row.

        Raises:
            ConfigError: When it is to be a probability, and is none; it is not kept then.
        """
        ...

    def parse(self, text: str) -> Any:
        """What the stage's parser makes of a text; None, and counted, where it cannot be used."""
        ...

    async def sample(
        self,
        messages: Sequence[Message] | None = None,
        samples: int | None = None,
        *,
        model: Model | None = None,
        sampling: Sampling | None = None,
        parse: bool = True,
    ) -> list[Drawn]:
        """The first `samples` completions of a prompt, in the order in which they were drawn.

        Args:
            messages: The prompt; the stage's own when None.
            samples: How many; the allocation's number when None.
            model: Who is asked; the allocation's model when None.
            sampling: How; the subtask's when None.
            parse: Whether they are answers, which the stage's parser reads. What it cannot read is counted.
        """
        ...

    async def usable(self, samples: int | None = None, *, model: Model | None = None) -> list[Drawn]:
        """Those of `sample(samples=samples, model=model)` that can be used: at least one.

        Raises:
            NoUsableSample: When there is none.
        """
        ...

    def require_usable(self, drawn: Sequence[Drawn]) -> list[Drawn]:
        """Those of some answers that can be used: at least one.

        Raises:
            NoUsableSample: When there is none. The stage's output is then the subtask's default.
        """
        ...

    def count_unparsable(self) -> None:
        """Count one sample that could not be used."""
        ...


class Operator(ABC):
    """How a stage turns samples into one output.

    An operator of one's own is a frozen dataclass with `name`, `run` and `loads`. What it does may depend on nothing
    but the stage and the samples that it draws, so that a repeated run gives the same output.
    """

    writes_anew = False
    """Whether its outputs come of prompts of its own, where no tools can be called: not so where it chooses one of the
    samples."""

    @property
    def least_samples(self) -> int:
        """With fewer samples it is the same as another operator, or makes no sense."""
        return 1

    @property
    @abstractmethod
    def name(self) -> str:
        """As in allocations and tables, with the settings that part it from others of its kind (see `named`)."""

    @abstractmethod
    async def run(self, stage: SubtaskRun) -> Any:
        """The stage's output.

        Raises:
            NoUsableSample: When no sample can be used.
        """

    @abstractmethod
    def loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        """What it asks for one query, in the mean over queries; never less for more samples.

        Args:
            samples: The allocation's number, or an array of such numbers.
            lengths: Of the stage.
        """

    def worst_loads(self, samples: Amount, lengths: Lengths) -> Sequence[Load]:
        """What it asks for the dearest query."""
        return self.loads(samples, lengths)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that it asks beside the stage's own."""
        return tuple(dict.fromkeys(_models_in(self)))

    def with_models(self, change: Callable[[Model], Model]) -> Self:
        """A copy with every one of its `models` changed."""
        return _changed(self, change) if self.models else self


def writes_anew_in_words(operator: str) -> str:
    """Why an operator does not go with tools."""
    return f"operator {operator!r} writes its output anew, which cannot call tools: take one that chooses, as a vote"


def request_text(stage: SubtaskRun) -> str:
    """The stage's prompt as one text, for a prompt that is about it."""
    return "\n\n".join(map(message_text, stage.messages))


def named(kind: str, **settings: Any) -> str:
    """The name of an operator: its kind, and the settings that are not None.

    Examples:
        >>> at.operators.named("revise", width=2, verifier=None)
        'revise(width=2)'
    """
    shown = [f"{name}={_shown(value)}" for name, value in settings.items() if value is not None]
    return f"{kind}({','.join(shown)})" if shown else kind


def _shown(setting: Any) -> str:
    if isinstance(setting, int | float | str):
        text = str(setting)
    elif type(setting) in (tuple, list):
        text = "+".join(map(_shown, setting))
    else:  # a function or object of the user's: the text of one may hold an address, which changes with each run
        text = getattr(setting, "name", None) or getattr(setting, "__name__", None) or type(setting).__name__
    return "".join(character for character in str(text) if character not in " ;*@?")


def _models_in(value: Any) -> list[Model]:
    if isinstance(value, Model):
        return [value]
    if type(value) in (tuple, list):
        return [model for each in value for model in _models_in(each)]
    if not is_dataclass(value) or isinstance(value, type):
        return []
    return [model for each in fields(value) for model in _models_in(getattr(value, each.name))]


def _changed(value: Any, change: Callable[[Model], Model]) -> Any:
    if isinstance(value, Model):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)(_changed(each, change) if _models_in(each) else each for each in value)
    parts = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
    return replace(value, **{name: _changed(part, change) for name, part in parts.items() if _models_in(part)})
