"""Searching in the texts of a study, piece by piece: however large it is, a piece takes a fraction of a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from agenttts.db import PoolText, Store, StoredTranscript, Study
from agenttts.pipeline.tools import message_text

PIECE_S = 0.1
"""Seconds that one piece may take."""
MOST_FOUND = 50
_AT_ONCE = 20
_AROUND = 90
"""Characters shown before and after what is found."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A place in which the text stands."""

    trial: int
    example: str
    held_out: bool
    where: str
    """The stage and what of it, in words."""
    before: str
    found: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one piece of a search has found."""

    hits: list[Hit]
    goes_on: tuple[int, int] | None
    """Where the next piece begins; None at the end."""


def search_texts(store: Store, study: Study, wanted: str, place: tuple[int, int] = (0, 0)) -> Piece:
    """Look for a text, in whatever case, in prompts, samples, values, outputs and errors.

    Args:
        store: Holds the study.
        study: Which study.
        wanted: What to look for; at least one character.
        place: Where to begin: (trial, id of a transcript) of the last one looked through.
    """
    started, hits, needle = time.monotonic(), list[Hit](), wanted.casefold()
    while batch := store.transcripts.after(study.id, place, _AT_ONCE):
        texts = store.transcripts.texts([stage for each in batch for stage in each.stages])
        for each in batch:
            hits += _hits(each, texts, needle)
            place = (each.trial, each.id)
            if len(hits) >= MOST_FOUND:
                return Piece(hits=hits, goes_on=place)
        if time.monotonic() - started > PIECE_S:
            return Piece(hits=hits, goes_on=place)
    return Piece(hits=hits, goes_on=None)


def _hits(transcript: StoredTranscript, texts: dict[str, PoolText], needle: str) -> Iterator[Hit]:
    """The first place in each text of an example."""
    for where, text in _texts(transcript, texts):
        folded = text.casefold()
        if (start := folded.find(needle)) < 0:
            continue
        end = start + len(needle)
        if len(folded) != len(text):  # some letters fold to several: the place is only roughly known
            text = folded
        yield Hit(
            trial=transcript.trial,
            example=transcript.example,
            held_out=transcript.held_out,
            where=where,
            before=("..." if start > _AROUND else "") + text[max(start - _AROUND, 0) : start],
            found=text[start:end],
            after=text[end : end + _AROUND] + ("..." if len(text) > end + _AROUND else ""),
        )


def _texts(transcript: StoredTranscript, texts: dict[str, PoolText]) -> Iterator[tuple[str, str]]:
    """Every text of an example, with where it stands."""
    yield "example", transcript.example
    if transcript.error is not None:
        yield "error", transcript.error
    for stage in transcript.stages:
        for drawn in stage.drawn:
            if (kept := texts.get(drawn.key)) is None:
                continue
            for message in kept.prompt.messages:
                yield f"{stage.stage}, prompt", message_text(message)
            for number, sample in enumerate(kept.samples[: drawn.samples], start=1):
                yield f"{stage.stage}, sample {number}", sample.text
            for number, value in enumerate(drawn.values, start=1):
                if isinstance(value, str):
                    yield f"{stage.stage}, parsed value of sample {number}", value
        if stage.output is not None:
            yield f"{stage.stage}, handed on", stage.output
