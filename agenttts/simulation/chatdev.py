"""The virtual models of ChatDev: they write, complete, review and fix small real programs (`programs`).

    write      each part of the description is there or not, written or left a gap; the program has a bug or not
    complete   each gap is filled or stays
    review     names the bug, else a missing part, else is finished; a poor review says nothing that helps
    revise     does what the review asks, or breaks the program
    explain    finds what fails or guesses
    fix        removes the bug, more often by a right explanation
    merging    by how many samples agree, part by part, the better more readily (`voting`)

Their programs run in the real sandbox, so completeness and executability are measured, not scripted; consistency is the
cosine of simulated embeddings (`embeddings`). What is published are six configurations with their mean consistency on
100 descriptions (the authors' comments on their runs), all between .738 and .752; their samples probably never reached
the models (a known fault of the authors' code), so that these differences are chance, and .745 is the target for all.
What the simulation gives on 45 descriptions (standard error of a consistency: 0.004); `pytest -s
tests/simulation/test_calibration.py` measures it. A number behind x is samples; completeness is that after coding.

    coding     static testing   dynamic testing   published   simulated   completeness   executability
    70B x2     3B x60           3B  x90           .748        .756        1.00           .93
    3B  x70    3B x30           70B x1            .740        .748        .91            .98
    70B x3     3B x2            70B x1            .752        .754        .98            .98
    3B  x30    3B x60           3B  x1            .752        .750        .89            .91
    70B x3     3B x50           3B  x1            .741        .754        .98            .93
    70B x2     3B x70           3B  x70           .738        .757        1.00           .89
    3B  x1     3B x1            3B  x1                        .742        .87            .80

Assumed: everything but that level. Nothing is published of completeness and executability; that samples and size
improve both is ours. Nothing here was measured on a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agenttts.environments.tasks.chatdev import prompts
from agenttts.pipeline import Example
from agenttts.simulation.answerer import Request, UnknownPrompt
from agenttts.simulation.chance import choice, deviate, uniform
from agenttts.simulation.programs import BUGS, Draft, parts_of, read, render
from agenttts.simulation.skill import FULL_LUCK, Ability
from agenttts.simulation.voting import confused, weighed

_COVER = Ability(0.5, 0.4)
"""A part of the description is in the program."""
_FINISH = Ability(1.4, 0.4)
"""A part is written, not left a gap."""
_SOUND = Ability(-0.2, 0.6)
"""The program has no bug."""
_COMPLETE = Ability(0.5, 0.5)
_SPOT = Ability(-0.4, 0.6)
"""A review or an explanation names what is wrong."""
_REVISE = Ability(0.8, 0.4)
_FIX = Ability(-0.3, 0.6)
_EXPLAINED = 0.8
"""What a right explanation adds to fixing."""
_LUCK = 0.7

_CANDIDATES = re.compile(r"^\[\d+\] ", re.MULTILINE)
_CLEANER = "Names could be clearer, and the code would read better in smaller functions."
_GUESS = "Something is called with what it does not expect; checking the inputs first would mend it."


@dataclass(frozen=True)
class _Turn:
    """One request, understood."""

    request: Request
    description: str
    asked: str
    """The prompt behind the description, candidates left out."""

    @property
    def parts(self) -> Sequence[str]:
        """The parts that the program should have."""
        return parts_of(self.description)

    @property
    def draft(self) -> Draft:
        """The program that is shown."""
        return read(self.asked)

    @property
    def key(self) -> tuple[object, ...]:
        """What fixes the luck of this sample."""
        return self.description, self.request.model.name, self.request.seed

    def stands(self, ability: Ability, *part: object, more: float = 0.0) -> bool:
        """Whether something succeeds: its difficulty is the description's, its luck the sample's."""
        luck = _LUCK * self.request.temperature / FULL_LUCK
        skill = ability.of(self.request.model) + more
        return skill - deviate(self.description, *part) + luck * deviate(*self.key, *part) > 0


class ChatdevAnswerer:
    """Plays every model of ChatDev.

    Args:
        task: Its name.
        examples: All of its examples.
    """

    def __init__(self, task: str, examples: Iterable[Example]) -> None:
        self._descriptions = [example["description"] for example in examples]

    def reply(self, request: Request) -> str:
        """See `answerer.Answerer.reply`."""
        prompt, _, candidates = request.prompt.partition("\n\nCandidates:\n[1] ")
        turn = self._turn(request, prompt)
        mark = next((mark for mark in _TURNS if mark in prompt), None)
        if mark is None:
            raise UnknownPrompt("the simulation knows none of its task's prompts in this request")
        if request.messages[0]["content"] == prompts.MERGE:
            return _merged(turn, mark, [text.strip() for text in _CANDIDATES.split(candidates)])
        return _TURNS[mark](turn)

    def _turn(self, request: Request, prompt: str) -> _Turn:
        _, _, rest = prompt.partition("Description: ")
        for description in self._descriptions:
            if rest.startswith(f"{description}\n\n"):
                return _Turn(request, description, rest[len(description) :])
        raise UnknownPrompt(f"the simulation has no example with the description {rest[:80]!r}")


def _write(turn: _Turn) -> str:
    there = [place for place in range(len(turn.parts)) if turn.stands(_COVER, "cover", place)] or [0]
    gaps = [place for place in there if not turn.stands(_FINISH, "finish", place)]
    bug = "" if turn.stands(_SOUND, "sound") else choice(list(BUGS), turn.description, "bug")
    return render(Draft(frozenset(there), frozenset(gaps), bug), turn.parts)


def _complete(turn: _Turn) -> str:
    left = [place for place in turn.draft.gaps if not turn.stands(_COMPLETE, "complete", place)]
    return render(replace(turn.draft, gaps=frozenset(left)), turn.parts)


def _review(turn: _Turn) -> str:
    draft = turn.draft
    if draft.bug and turn.stands(_SPOT, "spot", draft.bug):
        return f"The program cannot work: the line `{BUGS[draft.bug]}` fails. Remove it."
    missing = [place for place in range(len(turn.parts)) if place not in draft.written - draft.gaps]
    if missing and turn.stands(_SPOT, "spot", missing[0]):
        return f"The description also asks for part {missing[0]}, {turn.parts[missing[0]]!r}: write it."
    return prompts.FINISHED if turn.stands(_REVISE, "finished") else _CLEANER


def _revise(turn: _Turn) -> str:
    draft, comment = turn.draft, _said(turn, "A review says:", prompts.REVISE)
    if not turn.stands(_REVISE, "revise"):
        return render(replace(draft, bug=draft.bug or choice(list(BUGS), *turn.key)), turn.parts)
    if draft.bug and BUGS[draft.bug] in comment:
        return render(replace(draft, bug=""), turn.parts)
    if found := re.search(r"part (\d+)", comment):
        place = int(found[1])
        draft = replace(draft, written=draft.written | {place}, gaps=draft.gaps - {place})
    return render(draft, turn.parts)


def _explain(turn: _Turn) -> str:
    bug = turn.draft.bug
    if bug and turn.stands(_SPOT, "explain", bug, more=_EXPLAINED):
        return f"It ends at the line `{BUGS[bug]}`, about the {bug}, which nothing prepares. Removing it would mend it."
    return _GUESS


def _fix(turn: _Turn) -> str:
    draft = turn.draft
    explained = bool(draft.bug) and BUGS[draft.bug] in _said(turn, "A tester says:", prompts.FIX)
    fixed = turn.stands(_FIX, "mend", draft.bug, more=_EXPLAINED if explained else 0.0)
    return render(replace(draft, bug="" if fixed else draft.bug), turn.parts)


_TURNS: dict[str, Callable[[_Turn], str]] = {
    prompts.WRITE: _write,
    prompts.COMPLETE: _complete,
    prompts.REVIEW: _review,
    prompts.REVISE: _revise,
    prompts.EXPLAIN: _explain,
    prompts.FIX: _fix,
}


def _said(turn: _Turn, before: str, after: str) -> str:
    return turn.asked.rpartition(before)[2].partition(after)[0]


def _merged(turn: _Turn, mark: str, candidates: Sequence[str]) -> str:
    if confused(turn.request.model, len(candidates), *turn.key, mark):
        return choice(candidates, *turn.key, mark)
    if mark in (prompts.REVIEW, prompts.EXPLAIN):
        return weighed(candidates, lambda text: "`" in text or "part " in text, uniform(*turn.key, mark))
    return render(_merged_draft(turn, [read(candidate) for candidate in candidates]), turn.parts)


def _merged_draft(turn: _Turn, drafts: Sequence[Draft]) -> Draft:
    def agreed(values: Sequence[bool], *part: object) -> bool:
        return weighed(values, lambda good: good, uniform(*turn.key, *part))

    places = range(len(turn.parts))
    there = [place for place in places if agreed([place in draft.written for draft in drafts], "there", place)]
    done = [
        place
        for place in there
        if agreed([place not in draft.gaps for draft in drafts if place in draft.written], "done", place)
    ]
    bug = weighed([draft.bug for draft in drafts], lambda bug: not bug, uniform(*turn.key, "bug"))
    written = frozenset(there) or drafts[0].written
    return Draft(written, written - frozenset(done), bug)
