"""What each page shows: the contexts of the templates, read from the store with a few queries each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, Literal, get_args

from markupsafe import Markup

from agenttts._util.numbers import duration
from agenttts.db import Store, StoredTranscript, Study, TrialOrder
from agenttts.errors import ConfigError
from agenttts.pipeline.tools import message_text
from agenttts.report.data.rows import stage_rows
from agenttts.report.data.said import said, without_transcripts
from agenttts.report.findings.spending import study_prices, study_scale
from agenttts.report.page.story import NODES
from agenttts.report.terminal.said import field_text, sample_notes, samples_command
from agenttts.study.evaluation import Evaluation, ExampleResult
from agenttts.study.spec import verb_for
from agenttts.study.trial import Trial
from agenttts.view.background import Background, Worked
from agenttts.view.comparing import Side, best_by_score, side_by_side
from agenttts.view.summary import Summary, pictures_of, summary_of
from agenttts.view.texts import search_texts

STUDIES, TRIALS, ROUNDS, EXAMPLES = 30, 25, 10, 100
"""Rows of one page."""
_REFUSALS = 50
_RUNNING_S = 60.0
"""A search that has recorded something so recently is taken to be running."""
ExampleOrder = Literal["worst", "best", "score", "example"]
Context = dict[str, Any]


class NotFound(ConfigError):
    """There is no such page."""


@dataclass(frozen=True)
class Leaf:
    """One page of a long list."""

    number: int
    """From 1."""
    count: int
    """How many there are."""

    @property
    def neighbours(self) -> list[int]:
        """Those to go to."""
        near = {1, self.number - 1, self.number, self.number + 1, self.count}
        return sorted(number for number in near if 1 <= number <= self.count)


def leaf(asked: str, items: int, size: int) -> Leaf:
    """The page that was asked for, of so many items."""
    count = max(ceil(items / size), 1)
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    return Leaf(min(max(number, 1), count), count)


@dataclass(frozen=True)
class Pages:
    """The pages of one store."""

    store: Store
    background: Background

    # Studies

    def stamp(self, study: Study | None = None) -> str:
        """A text that changes whenever a page of the study, or the list of studies, would show something else."""
        studies = self.store.studies() if study is None else [study]
        shown = {each.id: each for each in studies[-STUDIES:]}
        stamps = {id_: self.store.overview.stamp(each) for id_, each in shown.items()}
        for id_, stamp in stamps.items():
            self.summary(shown[id_], stamp)
        if study is not None:
            self.pictures(study, stamps[study.id])
        return f"{'/'.join(stamps.values())}/{self.background.changes}"

    def studies(self, query: Mapping[str, str]) -> Context:
        """The list of studies, the newest first."""
        every = self.store.studies()[::-1]
        page = leaf(query.get("page", ""), len(every), STUDIES)
        shown = every[(page.number - 1) * STUDIES : page.number * STUDIES]
        rows = [self._study_row(study) for study in shown]
        return {"rows": rows, "leaf": page, "count": len(every), "location": self.store.location}

    def study(self, number: int) -> Study:
        """The study of this id.

        Raises:
            NotFound: When there is none.
        """
        for study in self.store.studies():
            if study.id == number:
                return study
        raise NotFound(f"the store has no study {number}")

    def summary(self, study: Study, stamp: str) -> Worked:
        """Best and spend of a study (`Summary`), at this stamp of its own."""
        return self.background.get(("summary", study.id), stamp, summary_of, self.store, study)

    def pictures(self, study: Study, stamp: str) -> Worked:
        """The pictures of a study, as HTML, at this stamp of its own."""
        return self.background.get(("pictures", study.id), stamp, pictures_of, self.store, study)

    def _study_row(self, study: Study) -> Context:
        stamp = self.store.overview.stamp(study)
        known, current = self.summary(study, stamp)
        return {
            "study": study,
            "label": str(study.details.get("recorded") or ""),
            "budget": study_scale(study).rate(study.spec.budget),
            "trials": self.store.count_trials(study),
            "status": self._status(study),
            "stamp_of_study": stamp,
            "summary": known,
            "current": current,
            "verb": verb_for(str(study.details.get("recorded") or "")),
        }

    def _status(self, study: Study) -> str:
        newest, proposals, checked, paying = self.store.overview.activity(study)
        if newest is None:
            return "begun"
        ago = (datetime.now(UTC) - newest).total_seconds()
        if not checked and (ago < _RUNNING_S or (paying and proposals)):
            return "running"
        return f"stopped midway, {duration(ago)} ago" if proposals else f"ended {duration(ago)} ago"

    # One study

    def one_study(self, study: Study, query: Mapping[str, str]) -> Context:
        """A study: how it stands, its pictures, trials and rounds, and what went wrong."""
        row, overview = self._study_row(study), self.store.overview
        order: TrialOrder = _one_of(query.get("order", ""), get_args(TrialOrder))
        page = leaf(query.get("page", ""), row["trials"], TRIALS)
        trials = overview.trials(study, order=order, limit=TRIALS, offset=(page.number - 1) * TRIALS)
        pictures = self.pictures(study, row["stamp_of_study"])
        return {
            **row,
            "scale": study_scale(study),
            "pictures": pictures.value if pictures.value is None else Markup(pictures.value),
            "pictures_current": pictures.current,
            "shown": trials,
            "order": order,
            "orders": get_args(TrialOrder),
            "leaf": page,
            "refusals": overview.refusals(study, limit=_REFUSALS),
            **self._rounds(study, query.get("rounds", "")),
        }

    def _rounds(self, study: Study, asked: str) -> Context:
        """A page of the agent's timeline, the newest rounds first."""
        overview = self.store.overview
        page = leaf(asked, overview.count_rounds(study), ROUNDS)
        numbers = overview.rounds(study, limit=ROUNDS, offset=(page.number - 1) * ROUNDS)
        steps, trials = overview.steps_of(study, numbers), overview.trials_of(study, numbers)
        refusals = overview.refusals(study, rounds=numbers, limit=10 * ROUNDS)
        chapters = [
            {
                "number": number,
                "steps": [step for step in steps if step.round == number],
                "trials": [trial for trial in trials if trial.round == number],
                "refusals": [refusal for refusal in refusals if refusal.round == number],
            }
            for number in numbers
        ]
        return {"chapters": chapters, "rounds_leaf": page, "nodes": NODES}

    def wrong(self, study: Study, query: Mapping[str, str]) -> Context:
        """Examples of all trials: failed ones first, then those with most samples that could not be used."""
        count = self.store.transcripts.count(study.id)
        page = leaf(query.get("page", ""), count, EXAMPLES)
        shown = self.store.transcripts.worst(study.id, limit=EXAMPLES, offset=(page.number - 1) * EXAMPLES)
        return {
            "study": study,
            "shown": shown,
            "leaf": page,
            "count": count,
            "nothing": without_transcripts(study),
        }

    # One trial

    def trial_of(self, study: Study, number: int) -> Trial:
        """The trial of this number.

        Raises:
            NotFound: When there is none.
        """
        trial = self.store.overview.trial(study, number)
        if trial is None:
            raise NotFound(f"study {study.name!r} has no trial {number}")
        return trial

    def trial(self, study: Study, number: int, query: Mapping[str, str]) -> Context:
        """A trial: its stages, and every example, the failed ones first."""
        trial = self.trial_of(study, number)
        check = self.store.validation(study, trial.allocation, partly=True)
        order: ExampleOrder = _one_of(query.get("order", ""), get_args(ExampleOrder))
        rows = self._examples(study, trial, check, order)
        page = leaf(query.get("page", ""), len(rows), EXAMPLES)
        return {
            "study": study,
            "trial": trial,
            "check": check,
            "scale": study_scale(study),
            "stages": stage_rows(trial, study_prices(study)),
            "examples": rows[(page.number - 1) * EXAMPLES : page.number * EXAMPLES],
            "count": len(rows),
            "leaf": page,
            "order": order,
            "orders": get_args(ExampleOrder),
            "transcribed": any(row["transcript"] for row in rows),
            "nothing": without_transcripts(study, number),
            "command": samples_command(study, number),
        }

    def _examples(
        self, study: Study, trial: Trial, check: Evaluation | None, order: ExampleOrder = "example"
    ) -> list[Context]:
        """Every example of a trial and of its held-out check, with what its transcript counted."""
        found = {
            (each.held_out, each.example): each for each in self.store.transcripts.of(study.id, trial=trial.number)
        }
        both: Iterable[tuple[bool, ExampleResult]] = [
            *((False, result) for result in trial.evaluation.results),
            *((True, result) for result in (check.results if check else ())),
        ]
        rows = [
            {"held_out": held_out, "result": result, "transcript": found.get((held_out, result.example))}
            for held_out, result in both
        ]
        return sorted(rows, key=_SORTED[order])

    def example(self, study: Study, number: int, query: Mapping[str, str]) -> Context:
        """An example stage by stage.

        Raises:
            NotFound: When the trial has not seen it.
        """
        trial, held_out, name = self.trial_of(study, number), query.get("held_out", "") == "1", query.get("id", "")
        check = self.store.validation(study, trial.allocation, partly=True)
        rows = self._examples(study, trial, check)
        places = [
            place for place, row in enumerate(rows) if (row["held_out"], row["result"].example) == (held_out, name)
        ]
        if not places:
            raise NotFound(f"trial {number} of study {study.name!r} has not seen an example {name!r}")
        place = places[0]
        transcript: StoredTranscript | None = rows[place]["transcript"]
        return {
            "study": study,
            "trial": trial,
            "row": rows[place],
            "before": rows[place - 1] if place else None,
            "after": rows[place + 1] if place + 1 < len(rows) else None,
            "said": self._said(study, transcript),
            "nothing": without_transcripts(study, number),
            **_WORDS,
        }

    def _said(self, study: Study, transcript: StoredTranscript | None) -> Any:
        return None if transcript is None else next(said(self.store, study, [transcript]))

    # Several

    def compare(self, query: Mapping[str, str]) -> Context:
        """Two trials, or the best of two studies, on the same examples; one of these in full where it is named."""
        one, other = self._side(query.get("a", "")), self._side(query.get("b", ""))
        compared = side_by_side(one, other)
        page = leaf(query.get("page", ""), len(compared.examples), EXAMPLES)
        name = query.get("example")
        context = {
            "compared": compared,
            "shown": compared.examples[(page.number - 1) * EXAMPLES : page.number * EXAMPLES],
            "leaf": page,
            "name": name,
            **_WORDS,
        }
        if name is None:
            return context
        sides = [self.store.transcripts.one(s.study.id, s.trial.number, name, held_out=False) for s in (one, other)]
        return {**context, "said": [self._said(s.study, each) for s, each in zip((one, other), sides, strict=True)]}

    def _side(self, place: str) -> Side:
        """A trial by its place, as 3:12: the study's id and the trial's number; without the number, its best.

        Raises:
            NotFound: When there is none.
        """
        study_id, _, number = place.partition(":")
        if not (study_id.isascii() and study_id.isdigit() and (not number or (number.isascii() and number.isdigit()))):
            raise NotFound(f"{place!r} names no trial: give the id of a study, or that and a trial, as in 3:12")
        study = self.study(int(study_id[:9]))
        if number:
            return Side(study=study, trial=self.trial_of(study, int(number[:9])))
        summary: Summary | None = self.summary(study, self.store.overview.stamp(study)).value
        best = summary.best if summary is not None else best_by_score(self.store, study)
        if best is None:
            raise NotFound(f"study {study.name!r} has no finished trial yet")
        return Side(study=study, trial=best)

    def search(self, study: Study, query: Mapping[str, str]) -> Context:
        """A piece of a search in the texts of a study."""
        wanted, after = query.get("q", "").strip()[:200], query.get("after", "")
        trial, _, id_ = after.partition(":")
        place = (
            (int(trial), int(id_)) if all(p.isascii() and p.isdigit() and len(p) < 12 for p in (trial, id_)) else (0, 0)
        )
        piece = search_texts(self.store, study, wanted, place) if wanted else None
        goes_on = "" if piece is None or piece.goes_on is None else "{}:{}".format(*piece.goes_on)
        trials = self.store.count_trials(study)
        looked = trials if not goes_on else max(int(goes_on.partition(":")[0]) - 1, 0)
        return {
            "study": study,
            "wanted": wanted,
            "hits": [] if piece is None else piece.hits,
            "goes_on": goes_on,
            "looked": looked,
            "trials": trials,
        }


_WORDS = {"field_text": field_text, "message_text": message_text, "sample_notes": sample_notes}


def _badness(row: Context) -> tuple[Any, ...]:
    """Failed ones first, then those with most samples that could not be used or were cut, then by score."""
    result, transcript = row["result"], row["transcript"]
    unusable, cut = (transcript.unusable, transcript.cut) if transcript else (0, 0)
    return (result.error is None, -unusable, -cut, result.score, row["held_out"], result.example)


_SORTED: dict[str, Any] = {
    "worst": _badness,
    "best": lambda row: (-row["result"].score, row["held_out"], row["result"].example),
    "score": lambda row: (row["result"].score, row["held_out"], row["result"].example),
    "example": lambda row: (row["held_out"], row["result"].example),
}


def _one_of(asked: str, known: Sequence[Any]) -> Any:
    """What was asked for, where it is known; else the first."""
    return asked if asked in known else known[0]
