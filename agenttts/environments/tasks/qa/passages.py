"""HotpotQA and 2WikiMultiHopQA as published, and as the paper's authors publish them with about 100 candidates.

    official      `context` (10 paragraphs), `supporting_facts`, `answer`; also as the Hub keeps it, in columns
    candidates    `ctxs_candidate` (texts, shuffled), `ctxs_gt` (those needed), `answers` or `answer`

Official paragraphs are filled up to about 100 candidates with other examples' paragraphs, those that BM25 ranks
highest for the question, and shuffled by the example's id: the gold ones stand anywhere, the same in every run. The
authors did so with Elasticsearch and an unseeded shuffle. A paragraph is shown with its title.

2WikiMultiHopQA's aliases of answers lie in a file of their own, keyed by the example's `answer_id`; they count as
right where that file is beside the examples (`tasks.twowikimultihopqa`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from agenttts._util.extras import imported
from agenttts.environments.tasks.rows import FULL_TEXT, HELD_OUT, LIST, SEARCHED, TEXT_LIST, Row
from agenttts.pipeline import Example

CANDIDATES = 100
"""Passages per question, as far as there are so many."""


@dataclass(frozen=True)
class _QuestionRow:
    """One example, read."""

    id: str
    text: str
    answers: list[str]
    passages: list[str]
    gold: frozenset[str]
    complete: bool
    """Whether the passages are all it is to have."""


def passage_examples(
    rows: Sequence[Row], *, candidates: int = CANDIDATES, aliases: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[Example]:
    """The examples of either format, as many as the paper uses.

    Args:
        rows: As published; all of them give distractors.
        candidates: Passages that an official example is filled up to.
        aliases: `answer_id` of an official example -> further answers that are right.

    Raises:
        ConfigError: On a malformed example: the message names file, place and field.
    """
    questions = [_read(row, number, aliases) for number, row in enumerate(rows, start=1)]
    used = questions[: SEARCHED + HELD_OUT]
    distractors = _Distractors(questions) if not all(question.complete for question in used) else None
    return [_example(question, distractors, candidates) for question in used]


def _example(question: _QuestionRow, distractors: _Distractors | None, candidates: int) -> Example:
    pool = list(question.passages)
    if distractors is not None and not question.complete:
        pool += distractors.of(question, candidates - len(pool))
        random.Random(question.id).shuffle(pool)
    return {
        "id": question.id,
        "question": question.text,
        "answers": question.answers,
        "candidates": pool,
        "gold": [number for number, text in enumerate(pool, start=1) if text in question.gold],
    }


class _Distractors:
    """The paragraphs of all examples, ranked by BM25 for one question at a time."""

    def __init__(self, questions: Sequence[_QuestionRow]) -> None:
        need = "the official format needs BM25 to fill its 10 paragraphs up"
        bm25s: Any = imported("bm25s", need, extra="tasks")
        self._passages = list(dict.fromkeys(text for question in questions for text in question.passages))
        self._tokens = bm25s.tokenize
        self._index = bm25s.BM25()
        self._index.index(self._tokens(self._passages, show_progress=False), show_progress=False)

    def of(self, question: _QuestionRow, count: int) -> list[str]:
        """The highest ranked paragraphs that the example does not have; of equals, the one that comes first."""
        (tokens,) = self._tokens([question.text], return_ids=False, show_progress=False)
        order = np.argsort(-self._index.get_scores(tokens), kind="stable") if tokens else range(len(self._passages))
        own = set(question.passages)
        others = (text for text in (self._passages[place] for place in order) if text not in own)
        return [text for _, text in zip(range(count), others, strict=False)]


def _read(row: Row, number: int, aliases: Mapping[str, Sequence[str]]) -> _QuestionRow:
    if "ctxs_candidate" in row.fields or "ctxs_gt" in row.fields:
        return _read_candidates(row, number)
    paragraphs = dict(_paragraphs(row))
    needed = {str(title) for title, _ in _pairs(row, "supporting_facts", "sent_id")}
    for title in sorted(needed - paragraphs.keys()):
        raise row.error("supporting_facts", f"names {title!r}, which is no title in 'context'")
    return _QuestionRow(
        id=example_id(row, number, "_id", "id"),
        text=row.get("question", FULL_TEXT),
        answers=[row.get("answer", FULL_TEXT), *aliases.get(str(row.fields.get("answer_id")), ())],
        passages=list(paragraphs.values()),
        gold=frozenset(paragraphs[title] for title in needed),
        complete=False,
    )


def _read_candidates(row: Row, number: int) -> _QuestionRow:
    passages, gold = row.get("ctxs_candidate", TEXT_LIST), row.get("ctxs_gt", TEXT_LIST)
    for text in gold:
        if text not in passages:
            raise row.error("ctxs_gt", f"has {text[:40]!r}, which is not in 'ctxs_candidate'")
    answers = row.get("answers", TEXT_LIST) if "answers" in row.fields else [row.get("answer", FULL_TEXT)]
    return _QuestionRow(
        id=example_id(row, number, "_id", "id"),
        text=row.get("question", FULL_TEXT),
        answers=answers,
        passages=passages,
        gold=frozenset(gold),
        complete=True,
    )


def example_id(row: Row, number: int, *fields: str) -> str:
    """The first of these fields that the example has; its number where it has none."""
    return next((str(row.fields[field]) for field in fields if field in row.fields), str(number))


def _paragraphs(row: Row) -> Iterator[tuple[str, str]]:
    """Title -> the paragraph as it is shown."""
    for title, sentences in _pairs(row, "context", "sentences"):
        if not TEXT_LIST.holds(sentences):
            raise row.error("context", f"has no list of sentences under {title!r}")
        yield str(title), f"{title}: {' '.join(sentence.strip() for sentence in sentences)}"


def _pairs(row: Row, field: str, column: str) -> list[tuple[Any, Any]]:
    """A list of [title, ...] pairs: as published, or in the Hub's columns."""
    if isinstance(row.fields.get(field), dict):
        columns = Row(row.where, row.fields[field])
        titles, others = columns.get("title", LIST), columns.get(column, LIST)
        if len(titles) != len(others):
            raise row.error(field, f"has {len(titles)} titles and {len(others)} of {column!r}")
        return list(zip(titles, others, strict=True))
    for pair in row.get(field, LIST):
        if not (isinstance(pair, list) and len(pair) == 2):
            raise row.error(field, f"must hold [title, ...] pairs, not {repr(pair)[:60]}")
    return [(title, second) for title, second in row.fields[field]]
