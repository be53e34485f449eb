"""The virtual models of the four question-answering tasks: see `simulation.skill` for how good they are.

An example is recognised by its question, a stage by the last words of its prompt, fusion by its instruction; what is
shown is read from the prompt. Right answers are the example's own, wrong ones those of other examples: one that tempts
every model, else any of a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache

from agenttts.environments.tasks.qa.stages import ANSWER, MARKER, RETRIEVE
from agenttts.pipeline import Example
from agenttts.pipeline.aggregators import Fuse
from agenttts.pipeline.metrics import exact_match, normalise
from agenttts.simulation.answerer import Request, UnknownPrompt
from agenttts.simulation.chance import choice, deviate, shuffled, uniform
from agenttts.simulation.skill import FULL_LUCK, SKILLS, decades
from agenttts.simulation.voting import confused, weighed

_TEMPTING = 4
_WORDS_PER_CANDIDATE = 14
_RETRIEVAL_LUCK = 0.25
_GOLD_SPREAD = 0.6
"""Of the difficulty of finding one needed candidate, beside that of its question."""
_QUESTION_SPREAD = 0.8
_WRONG = 8
"""Wrong answers that are given to one question."""
_TEMPTED = 0.5
"""Share of the wrong answers that are the tempting one."""
_FORMLESS = 0.03
"""Share of a 3B model's responses that end without an answer; a tenth of it for ten times the parameters."""

_FUSE = Fuse().instruction
_YES_NO = ("yes", "no")
_LISTED = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)
_FINAL = re.compile(rf"^{MARKER} (.*)$", re.MULTILINE)


class QaAnswerer:
    """Plays every model of one question-answering task.

    Args:
        task: Its name, one of `skill.SKILLS`.
        examples: All of its examples.
    """

    def __init__(self, task: str, examples: Iterable[Example]) -> None:
        self._skill = SKILLS[task]
        self._examples = {example["question"]: example for example in examples}
        answers = sorted({str(example["answers"][0]) for example in self._examples.values()})
        self._wrong = {question: _wrong_answers(example, answers) for question, example in self._examples.items()}

    def reply(self, request: Request) -> str:
        """See `answerer.Answerer.reply`."""
        prompt = request.prompt
        if request.messages[0]["content"] == _FUSE:
            asked, _, candidates = prompt.partition("\n\nCandidates:\n[1] ")
            return self._fused(request, self._example(asked, last=True), candidates)
        if prompt.endswith(_last_words(RETRIEVE)):
            return self._retrieved(request, self._example(prompt, last=False))
        if prompt.endswith(_last_words(ANSWER)):
            return self._answered(request, self._example(prompt, last=True))
        raise UnknownPrompt("the simulation knows none of its task's prompts in this request")

    def _example(self, prompt: str, *, last: bool) -> Example:
        """The example that is asked about: its question stands first or last in the prompt."""
        parts = prompt.split("Question: ")
        question = parts[-1 if last else 1].split("\n\n")[0] if len(parts) > 1 else ""
        if question not in self._examples:
            raise UnknownPrompt(f"the simulation has no example with the question {question[:80]!r}")
        return self._examples[question]

    def _retrieved(self, request: Request, example: Example) -> str:
        shown = _listed(request.prompt)
        kept = self._kept(request, example["question"], shown, _needed(example))
        return "\n".join(f"[{number}] {_opening(shown[number])}" for number in kept)

    def _kept(self, request: Request, question: str, shown: Mapping[int, str], needed: Set[str]) -> list[int]:
        model = request.model
        luck = _RETRIEVAL_LUCK * request.temperature / FULL_LUCK
        difficulty = _QUESTION_SPREAD * deviate(question, "find")

        def stands(skill: float, number: int) -> bool:
            spread = _GOLD_SPREAD * deviate(question, "item", number)
            return skill - difficulty - spread + luck * deviate(question, model.name, request.seed, number) > 0

        gold = [number for number, text in shown.items() if text in needed]
        tempting = shuffled([number for number in shown if number not in gold], question, "tempting")[:_TEMPTING]
        found = [number for number in gold if stands(self._skill.find.of(model), number)]
        strays = [number for number in tempting if not stands(self._skill.resist.of(model), number)]
        return sorted([*found, *strays]) or tempting[:1] or gold[:1]

    def _answered(self, request: Request, example: Example) -> str:
        question, model = example["question"], request.model
        references = list(_listed(request.prompt.rpartition("Question: ")[0]).values())
        needed = _needed(example)
        seen = sum(text in needed for text in references)
        skill = self._skill.answering(
            model, support=seen / len(needed) if needed else 0.0, strays=len(references) - seen
        )
        luck = self._skill.luck * request.temperature / FULL_LUCK
        right = skill - deviate(question, "answer") + luck * deviate(question, model.name, request.seed, "answer") > 0
        answer = str(example["answers"][0]) if right else self._wrong_answer(request, question)
        if uniform(question, model.name, request.seed, "form") < _FORMLESS * 10 ** -decades(model):
            return f"{_reasoning(references)} It should be {answer}"
        return f"{_reasoning(references)}\n{MARKER} {answer}"

    def _wrong_answer(self, request: Request, question: str) -> str:
        """Often the one that tempts every model."""
        key = (question, request.model.name, request.seed)
        wrong = self._wrong[question]
        return wrong[0] if uniform(*key, "tempted") < _TEMPTED else choice(wrong, *key, "wrong answer")

    def _fused(self, request: Request, example: Example, candidates: str) -> str:
        answers = [answer.strip() for answer in _FINAL.findall(candidates)]
        if not answers:
            raise UnknownPrompt("the simulation finds no candidate answers in this request for fusion")
        key = (example["question"], request.model.name, request.seed, "fuse")
        if confused(request.model, len(answers), *key):
            picked = choice(answers, *key)
        else:
            picked = weighed(answers, lambda answer: _is_right(answer, example) > 0, uniform(*key))
        return f"The candidates give {len(set(answers))} answers, of which one stands up best.\n{MARKER} {picked}"


@lru_cache(maxsize=64)
def _listed(prompt: str) -> Mapping[int, str]:
    """Number -> the first line of what is listed under it."""
    return {int(number): text for number, text in _LISTED.findall(prompt)}


def _needed(example: Example) -> Set[str]:
    return {example["candidates"][number - 1].split("\n")[0] for number in example["gold"]}


def _wrong_answers(example: Example, answers: Sequence[str]) -> list[str]:
    """Some of the answers that are wrong here; to a question of yes or no, the other."""
    right = normalise(example["answers"][0])
    if right in _YES_NO:
        return ["no" if right == "yes" else "yes"]
    some = shuffled(answers, example["question"], "wrong answers")[: _WRONG + 1]
    return [answer for answer in some if not _is_right(answer, example)][:_WRONG] or ["unknown"]


_is_right = exact_match("answers")


def _last_words(prompt: str) -> str:
    return prompt.rpartition("\n")[2]


def _opening(text: str) -> str:
    words = " ".join(text.split()[:_WORDS_PER_CANDIDATE])
    return words.replace("[", "(").replace("]", ")")


def _reasoning(references: Sequence[str]) -> str:
    if not references:
        return "No reference tells, so this is from what I know."
    openings = "; ".join(_opening(text) for text in references[:2])
    return f"The references say: {openings}. Taken together, they settle it."
