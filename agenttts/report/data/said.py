"""What the models of a trial were asked and what they said, example by example, as the store holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.db import PoolText, Store, StoredTranscript, Study
from agenttts.errors import ConfigError
from agenttts.space.allocation import Allocation
from agenttts.study.transcript import DrawnPrompt, StageTranscript

_AT_ONCE = 50
"""Examples whose texts are read at once."""


@dataclass(frozen=True, kw_only=True)
class SaidSample:
    """One reply of a model."""

    text: str
    tokens: int
    ended: str
    """Why it holds nothing, or not all, to parse: "refused", "cut", "empty", "unfinished"; empty for a whole one."""
    parsed: bool
    """Whether it was given to the stage's parser: what a verifier or a judge said is not."""
    value: str | None
    """What the parser made of it; None for a sample that could not be used."""


@dataclass(frozen=True, kw_only=True)
class SaidPrompt:
    """What one model was asked, and its replies."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    """Empty where the sample pool has lost them."""
    sampling: Mapping[str, Any]
    prompt_tokens: int
    samples: tuple[SaidSample, ...]


@dataclass(frozen=True, kw_only=True)
class SaidStage:
    """One stage of an example."""

    stage: str
    choice: str
    """What the allocation gives it."""
    prompts: tuple[SaidPrompt, ...]
    votes: Mapping[str, int]
    """Parsed value -> how many samples gave it, the most frequent first."""
    unusable: int
    """Samples that the parser could not use."""
    output: str | None
    """What it handed on; None where it did not come that far."""


@dataclass(frozen=True, kw_only=True)
class SaidExample:
    """One example under the allocation of a trial.

    Examples:
        >>> from agenttts import report
        >>> example = next(report.read_said(store, study, trial=1))
        >>> stage = example.stages[0]
        >>> stage.prompts[0].messages[0]["content"], stage.output
        ('Is 4 odd?', 'no')
    """

    trial: int
    """Its number in the study."""
    held_out: bool
    """Whether it was asked in a held-out check."""
    example: str
    """Its id."""
    score: float
    """Of the metric, on this example."""
    error: str | None
    """Why it failed; None where it did not."""
    given: Mapping[str, Any]
    """The example's own fields."""
    stages: tuple[SaidStage, ...]
    """In the order of the pipeline."""


def read_said(
    store: Store,
    study: Study,
    *,
    trial: int | None = None,
    stage: str | None = None,
    example: str | None = None,
    failed: bool = False,
) -> Iterator[SaidExample]:
    """What was asked and said in a study, trial by trial; read as it is iterated over.

    Examples:
        >>> from agenttts import report
        >>> [each.example for each in report.read_said(store, study, trial=1)][:3]
        ['e4', 'e6', 'e2']

    Args:
        store: Holds the study.
        study: Which study.
        trial: Number of the only trial.
        stage: Name of the only stage.
        example: Id of the only example.
        failed: Only examples that failed, and those with samples that could not be used or were cut.

    Raises:
        ConfigError: When the study has no such trial, stage or example, or the store does not know what was said.
    """
    _require_known(store, study, trial, stage)
    found = store.transcripts.of(study.id, trial=trial, example=example, failed=failed)
    if first := next(found, None):
        return _read(store, study, first, found, stage)
    if example is not None and next(store.transcripts.of(study.id, trial=trial), None):
        seen = f"trial {trial}" if trial is not None else f"any trial of study {study.name!r}"
        what = f"in which it or a sample of it failed, in {seen}" if failed else f"in {seen}"
        raise ConfigError(f"there is no example {example!r} {what}: leave --example out to see all")
    return iter(())


def _require_known(store: Store, study: Study, trial: int | None, stage: str | None) -> None:
    if stage is not None and stage not in study.spec.sizes:
        raise ConfigError(f"study {study.name!r} has no stage {stage!r}; it has {', '.join(study.spec.sizes)}")
    count = store.count_trials(study)
    if trial is not None and not 1 <= trial <= count:
        others = f"it has 1 to {count}" if count else "it has none"
        raise ConfigError(f"study {study.name!r} has no trial {trial}; {others}")
    if count and next(store.transcripts.of(study.id, trial=trial), None) is None:
        raise ConfigError(f"{without_transcripts(study, trial)}; a new --study reuses the samples that are there")


def without_transcripts(study: Study, trial: int | None = None) -> str:
    """Why there is nothing to show, in a sentence."""
    what = f"study {study.name!r}" if trial is None else f"trial {trial} of study {study.name!r}"
    return (
        f"the store does not know which samples {what} drew: it was searched by an agenttts that did not keep that, "
        "or its environment asks no model"
    )


def _read(
    store: Store, study: Study, first: StoredTranscript, others: Iterator[StoredTranscript], stage: str | None
) -> Iterator[SaidExample]:
    batch = [first]
    for each in others:
        if len(batch) == _AT_ONCE:
            yield from said(store, study, batch, stage)
            batch = []
        batch.append(each)
    yield from said(store, study, batch, stage)


def said(
    store: Store, study: Study, transcripts: Sequence[StoredTranscript], stage: str | None = None
) -> Iterator[SaidExample]:
    """Transcripts with the texts of the sample pool and the fields of their examples.

    Args:
        store: Where they were read.
        study: Whose they are.
        transcripts: Not more than are shown at once.
        stage: Name of the only stage.
    """
    wanted = {each.id: [part for part in each.stages if stage in (None, part.stage)] for each in transcripts}
    texts = store.transcripts.texts([part for parts in wanted.values() for part in parts])
    given = store.transcripts.given(study.id, [each.example for each in transcripts])
    keys = store.transcripts.allocations(study.id, {each.trial for each in transcripts})
    allocations = {number: Allocation.from_key(key) for number, key in keys.items()}
    for each in transcripts:
        allocation = allocations[each.trial]
        yield SaidExample(
            trial=each.trial,
            held_out=each.held_out,
            example=each.example,
            score=each.score,
            error=each.error,
            given=given.get(each.example, {}),
            stages=tuple(_stage(part, str(allocation[part.stage]), texts) for part in wanted[each.id]),
        )


def _stage(transcript: StageTranscript, choice: str, texts: Mapping[str, PoolText]) -> SaidStage:
    prompts = tuple(_prompt(drawn, texts.get(drawn.key)) for drawn in transcript.drawn)
    usable = [sample for prompt in prompts for sample in prompt.samples if sample.parsed]
    votes = Counter(sample.value for sample in usable if sample.value is not None)
    return SaidStage(
        stage=transcript.stage,
        choice=choice,
        prompts=prompts,
        votes=dict(votes.most_common()),
        unusable=sum(sample.value is None for sample in usable),
        output=transcript.output,
    )


def _prompt(drawn: DrawnPrompt, kept: PoolText | None) -> SaidPrompt:
    if kept is None:
        return SaidPrompt(model=drawn.model, messages=(), sampling={}, prompt_tokens=0, samples=())
    values = [*drawn.values, *[None] * (drawn.samples - len(drawn.values))]
    samples = tuple(
        SaidSample(
            text=sample.text,
            tokens=sample.completion_tokens,
            ended=sample.ended,
            parsed=place < len(drawn.values),
            value=sample.text.strip() if value is True else value,
        )
        for place, (sample, value) in enumerate(zip(kept.samples, values, strict=False))
    )
    prompt = kept.prompt
    return SaidPrompt(
        model=drawn.model,
        messages=prompt.messages,
        sampling=prompt.sampling,
        prompt_tokens=prompt.prompt_tokens,
        samples=samples,
    )
