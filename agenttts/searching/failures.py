"""Examples that a trial fails, as the store has them, for a searcher that may show them to somebody."""

from __future__ import annotations

from collections.abc import Sequence

from agenttts._util.text import scrubbed
from agenttts.db import Store, Study
from agenttts.llm.endpoint import secrets_of
from agenttts.pipeline import Model
from agenttts.protocols import FailedExample
from agenttts.study.trial import Trial

_FAILED = 0.5


def failed_examples(
    store: Store, study: Study, models: Sequence[Model], trial: Trial, most: int, secrets: Sequence[str] = ()
) -> list[FailedExample]:
    """The examples that a trial scores worst on, below one half, of which the store knows what the stages said.

    Args:
        store: Holds the study.
        study: Whose trial it is.
        models: Whose keys, and values of headers, are blotted out wherever they stand.
        trial: Which trial.
        most: How many.
        secrets: What else is blotted out.
    """
    worst = sorted((each for each in trial.evaluation.results if each.score < _FAILED), key=lambda each: each.score)
    given = store.transcripts.given(study.id, [each.example for each in worst[:most]])
    secrets = [*secrets, *secrets_of(models)]
    found = []
    for result in worst[:most]:
        transcript = store.transcripts.one(study.id, trial.number, result.example, held_out=False)
        if transcript is None:
            continue
        fields = given.get(result.example, {})
        found.append(
            FailedExample(
                given={name: scrubbed(str(value), secrets) for name, value in fields.items()},
                outputs={part.stage: scrubbed(part.output or "", secrets) for part in transcript.stages},
                score=result.score,
                stage_scores=result.subtask_scores,
            )
        )
    return found
