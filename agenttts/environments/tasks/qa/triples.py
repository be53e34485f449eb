"""ComplexWebQuestions and WebQSP in the format of Generate-on-Graph, which the paper's authors use.

The candidates are the first 100 distractors (`2hop_triples`, else `pool_triples`) that are not on the gold path
(`gt_triples`), and the needed ones (`crucial_triples`), shuffled by the example's id; the authors shuffle them anew in
every run. The rest of the gold path is withheld on purpose: the answering model has to know it. A triple is shown as
<head, relation, tail>.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from agenttts._util.checks import Kind
from agenttts.environments.tasks.qa.passages import example_id
from agenttts.environments.tasks.rows import FULL_TEXT, HELD_OUT, SEARCHED, TEXT_LIST, Row
from agenttts.pipeline import Example

DISTRACTORS = 100
_TRIPLES = Kind(
    "a list of [head, relation, tail] texts",
    lambda value: isinstance(value, list) and all(TEXT_LIST.holds(each) and len(each) == 3 for each in value),
)


def triple_examples(rows: Sequence[Row]) -> list[Example]:
    """The examples, as many as the paper uses.

    Raises:
        ConfigError: On a malformed example: the message names file, place and field.
    """
    return [_example(row, number) for number, row in enumerate(rows[: SEARCHED + HELD_OUT], start=1)]


def _example(row: Row, number: int) -> Example:
    name = example_id(row, number, "ID", "QuestionId", "id")
    needed = dict.fromkeys(_shown(row, "crucial_triples"))
    known = {*needed, *(_shown(row, "gt_triples") if "gt_triples" in row.fields else ())}
    pool = "2hop_triples" if "2hop_triples" in row.fields else "pool_triples"
    others = [text for text in dict.fromkeys(_shown(row, pool)) if text not in known]
    candidates = [*needed, *others[:DISTRACTORS]]
    if not candidates:
        raise row.error(pool, "is empty, and so is 'crucial_triples': there is nothing to retrieve from")
    random.Random(name).shuffle(candidates)
    return {
        "id": name,
        "question": row.get("question" if "question" in row.fields else "RawQuestion", FULL_TEXT),
        "answers": row.get("answer", TEXT_LIST),
        "candidates": candidates,
        "gold": [place for place, text in enumerate(candidates, start=1) if text in needed],
    }


def _shown(row: Row, field: str) -> list[str]:
    return [f"<{head}, {relation}, {tail}>" for head, relation, tail in row.get(field, _TRIPLES, filled=False)]
