"""The minihop pipeline: retrieve (quote the needed facts) -> answer (a short chain to a number).

How the samples of `retrieve` become one output is a visible choice, since it decides which model size that stage
prefers: `union` keeps every quote that really is in the list (a check that needs no model, so many cheap samples
pay), `vote` is the paper's vote on ids (more samples of a small model hardly help).

In `minihop-operators` the answer stage also chooses what is done with its samples: a vote, one that stops early, a
cascade to a larger model, or what a trained verifier, a fifth model, makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from agenttts.environments.live import LiveEnvironment
from agenttts.environments.tasks.minihop import world
from agenttts.environments.tasks.minihop.recorded import RecordedVerdicts, ReplayClient
from agenttts.errors import ParseError
from agenttts.pipeline import (
    Aggregator,
    Example,
    Message,
    Model,
    Pipeline,
    Sampling,
    Subtask,
    SubtaskInput,
)
from agenttts.pipeline.aggregators import IdVote, MajorityVote, Union
from agenttts.pipeline.fingerprint import identified
from agenttts.pipeline.metrics import equal
from agenttts.pipeline.operators import AdaptiveVote, BestOf, Cascade, Operator, Verifier, Vote, WeightedVote
from agenttts.serving import LlamaCppServing
from agenttts.space.cost import Budget

DEFAULT_BUDGET = Budget(700, "flops")
HERE = Path(__file__).parent
REVISION = "2"
"""Raised whenever the weights change, so that pools of older weights are never reused."""

EXAMPLES = range(100)
HELD_OUT = range(100, 400)
"""The recorded pools cover both."""
_POOLS = HERE / "pools.jsonl.xz"
_RECORDED = "recorded samples of real models; no model runs"

# Parameters, layers, width; the token lengths below are means over the recorded pools (MODEL_CARD.md).
_SHAPES = {"xs": (260_064, 2, 96), "s": (633_728, 3, 128), "m": (2_499_648, 5, 192), "l": (7_607_360, 6, 320)}
MODELS = tuple(
    Model(f"minihop-{size}", parameters, revision=REVISION, layers=layers, hidden_size=width)
    for size, (parameters, layers, width) in _SHAPES.items()
)

VERIFIER = Model("minihop-verifier", 2_499_648, revision="1", layers=5, hidden_size=192)
"""Says of a reply of the answer stage, yes or no, whether it is right; trained for that from `minihop-m`."""

# llama.cpp's sampler defaults differ from OpenAI's and vLLM's: switch its filters off for parity.
_FILTERS_OFF = {"top_k": 0, "min_p": 0.0}


def pipeline(retrieve: Literal["union", "vote"] = "union") -> Pipeline:
    """The pipeline, with the aggregator of its retrieve stage."""
    aggregator: Aggregator = Union() if retrieve == "union" else IdVote()
    return Pipeline(
        "minihop" if retrieve == "union" else "minihop-vote",
        (
            Subtask(
                "retrieve",
                MODELS,
                _retrieve_prompt,
                parser=_quoted,
                aggregator=aggregator,
                default=(),
                metric=_all_needed,
                prompt_tokens=115,
                completion_tokens=23.5,
                max_samples=64,
                sampling=Sampling(temperature=0.8, max_tokens=world.RETRIEVE_MAX_TOKENS, extra=_FILTERS_OFF),
            ),
            Subtask(
                "answer",
                MODELS,
                _answer_prompt,
                parser=_number,
                aggregator=MajorityVote(),
                default="unknown",
                prompt_tokens=41,
                completion_tokens=43.6,
                max_samples=32,
                sampling=Sampling(temperature=0.8, max_tokens=world.ANSWER_MAX_TOKENS, extra=_FILTERS_OFF),
            ),
        ),
        metric=equal("answer"),
    )


def with_operators() -> Pipeline:
    """The pipeline whose answer stage chooses an operator too."""
    retrieve, answer = pipeline().subtasks
    stages = (retrieve, replace(answer, aggregator=None, operators=operators()))
    return replace(pipeline(), name="minihop-operators", subtasks=stages)


def operators() -> tuple[Operator, ...]:
    """What the answer stage of `minihop-operators` chooses from."""
    verifier = Verifier(
        VERIFIER,
        prompt=_verdict_prompt,
        prompt_tokens=121,
        tokens=4,
        sampling=Sampling(temperature=1.0, max_tokens=8, extra=_FILTERS_OFF),
    )
    *_, medium, large = MODELS
    return (
        Vote(),
        AdaptiveVote(confidence=0.8, window=2),
        Cascade(to=medium, samples=1, agree=0.75),
        Cascade(to=large, samples=1, agree=0.75),
        BestOf(verifier, votes=4),
        WeightedVote(verifier, votes=4),
    )


def minihop() -> LiveEnvironment:
    """Real models served by llama.cpp on this machine's CPU."""
    return _environment(pipeline(), name="minihop", serving=_serving(MODELS))


def minihop_operators() -> LiveEnvironment:
    """As `minihop`, with operators in the answer stage, a trained verifier among them."""
    return _environment(with_operators(), name="minihop-operators", serving=_serving((*MODELS, VERIFIER)))


def minihop_vote() -> LiveEnvironment:
    """As `minihop`, with the paper's vote in the retrieve stage."""
    return _environment(pipeline("vote"), name="minihop-vote", serving=_serving(MODELS))


def minihop_recorded() -> LiveEnvironment:
    """Recorded samples of the same models: no model runs, every allocation of the landscape can be replayed."""
    client = ReplayClient(_POOLS, pipeline(), _examples(range(400)))
    return _environment(pipeline(), name="minihop-recorded", client=client, recorded=_RECORDED)


def minihop_operators_recorded() -> LiveEnvironment:
    """Recorded samples of `minihop-operators`, and its verifier's recorded verdicts."""
    verdicts = RecordedVerdicts(HERE / "verdicts.jsonl.xz", _verdict_prompt)
    client = ReplayClient(_POOLS, pipeline(), _examples(range(400)), verdicts)
    return _environment(with_operators(), name="minihop-operators-recorded", client=client, recorded=_RECORDED)


def _serving(models: Iterable[Model]) -> LlamaCppServing:
    return LlamaCppServing({model.served_name: HERE / "weights" / f"{model.name}.gguf" for model in models})


def _environment(pipeline: Pipeline, **options: Any) -> LiveEnvironment:
    return LiveEnvironment(
        pipeline, _examples(EXAMPLES), held_out=_examples(HELD_OUT), default_budget=DEFAULT_BUDGET, **options
    )


def _examples(indices: Iterable[int]) -> list[dict[str, Any]]:
    return [world.make_example(index) for index in indices]


@identified("tasks.minihop.retrieve_prompt", version=1)
def _retrieve_prompt(given: SubtaskInput) -> list[Message]:
    return _messages("retrieve", world.retrieve_prompt(given.example["facts"], given.example["question"]))


@identified("tasks.minihop.answer_prompt", version=1)
def _answer_prompt(given: SubtaskInput) -> list[Message]:
    return _messages("answer", _asked(given.example, given.inputs["retrieve"]))


@identified("tasks.minihop.verdict_prompt", version=1)
def _verdict_prompt(given: SubtaskInput, reply: str) -> Sequence[Message]:
    return _messages("verify", world.verdict_prompt(_asked(given.example, given.inputs["retrieve"]), reply))


def _asked(example: Example, kept: Iterable[int]) -> str:
    return world.answer_prompt([example["facts"][index] for index in kept], example["question"])


def _messages(task: str, content: str) -> list[Message]:
    return [{"role": "system", "content": task}, {"role": "user", "content": content}]


@identified("tasks.minihop.quoted", version=1)
def _quoted(sample: str, given: SubtaskInput) -> tuple[int, ...]:
    quoted = world.quoted_facts(sample, given.example["facts"])
    if not quoted:
        raise ParseError("no quote of a listed fact")
    return tuple(quoted)


@identified("tasks.minihop.number", version=1)
def _number(sample: str, _: SubtaskInput) -> int:
    value = world.parse_answer(sample)
    if value is None:
        raise ParseError("no number, or unknown")
    return value


@identified("tasks.minihop.all_needed", version=1)
def _all_needed(kept: Iterable[int], example: Example) -> float:
    """1 when every needed fact was kept."""
    return float(set(example["needed"]) <= set(kept))
