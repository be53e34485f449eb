"""What the functions of a stage are given, and their forms: prompts, parsers, metrics, aggregators, programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.model import Example, Message
from agenttts.pipeline.operator import Drawn, SubtaskRun
from agenttts.pipeline.pairing import Options


@identified("subtask_input", version=1, unscored=("options",))
@dataclass(frozen=True)
class SubtaskInput:
    """What a subtask sees of one example: its fields, the outputs of the subtasks before it, and its own options.

    Examples:
        >>> given = at.SubtaskInput({"id": "1", "question": "Who wrote Emma?"}, {"retrieve": (2,)})
        >>> given.example["question"], given.inputs["retrieve"]
        ('Who wrote Emma?', (2,))
    """

    example: Example
    """The row of the data."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Earlier subtask -> its output."""
    options: Options = field(default_factory=dict)
    """How the allocation sets `Subtask.options`."""


class StepRun(SubtaskRun, Protocol):
    """The handle of one subtask for a pipeline that is a function (`Pipeline.run`)."""

    async def ask(self, messages: Sequence[Message] | str) -> Any:
        """The subtask's output for these messages: the allocation's samples of its model, parsed and aggregated.

        Raises:
            ParseError: When no sample can be used and the subtask has no default.
            EndpointError: When the model's endpoint rejects the request or keeps failing.
        """
        ...

    async def reply(self, messages: Sequence[Message] | str) -> str:
        """As `ask`, but the whole first sample that was parsed as the output: for code that parses for itself."""
        ...

    async def turn(self, messages: Sequence[Message] | str, request: Mapping[str, Any] | None = None) -> Drawn:
        """As `reply`, with the calls of tools: one turn of a conversation that goes on with `Drawn.message`.

        Args:
            messages: The prompt.
            request: Fields of the request beside those of the sampling, as {"tools": [...], "tool_choice": "auto"};
                the subtask's `tools` when None.
        """
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
"""One sample's text, and what its subtask sees -> a value; None, or a `ParseError`, for a sample that is unusable."""
Metric = Callable[[Any, Example], float]
"""An output, and the example it is for -> a score in [0, 1]."""
AsyncMetric = Callable[[Any, Example], Awaitable[float]]
"""A metric that is awaited, such as one that asks a judge."""
Coroutine = Callable[[SubtaskRun], Awaitable[Any]]
Program = Callable[[Example, Mapping[str, StepRun]], Awaitable[Any]]


@identified("parsers.text", version=1)
def text(sample: str, _: SubtaskInput) -> str:
    """The default parser: the sample without surrounding white space.

    Examples:
        >>> at.parsers.text("  Jane Austen ", given)
        'Jane Austen'
    """
    return sample.strip()
