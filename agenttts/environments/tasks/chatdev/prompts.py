"""The prompts of the stages, in our own words; ChatDev's dialogues of two roles are one message each here."""

from __future__ import annotations

from collections.abc import Mapping

from agenttts.environments.tasks.chatdev.files import written
from agenttts.pipeline import Example, Message

FINISHED = "FINISHED"
"""What a review says when it finds nothing."""

# What each turn asks for, by which a reader of prompts tells them apart.
WRITE = "Write the program that this description asks for."
COMPLETE = "Some of its parts are not written yet."
REVIEW = "Read it without running it."
REVISE = "Make this change."
EXPLAIN = "Say in a few sentences where and why, and what would mend it."
FIX = "Mend it."

_CODER = "You are an experienced Python programmer. You write whole programs that work as they are."
_REVIEWER = "You are an exacting reviewer of Python programs."
_TESTER = "You are a tester who finds out why Python programs fail."
_FORM = (
    "Write each file as its name on a line of its own and then its whole text in a fence of three backticks:\n\n"
    "main.py\n```\n...\n```"
)
_RULES = (
    "The program starts with `python main.py` without arguments, needs nothing but Python's standard library, and "
    "leaves no function unwritten. The machine has no screen and no network."
)
MERGE = (
    "Several candidate replies to the same request follow, drawn independently; some may be wrong. Compare them, take "
    "what is best in each, and write the one reply that serves the request best, whole and in the form that the "
    "request asks for, without mentioning the candidates."
)


def write(example: Example) -> list[Message]:
    """Description -> program."""
    task = f"{WRITE}\n\n{_description(example)}\n\n{_RULES}\n\n{_FORM}"
    return _messages(_CODER, task)


def complete(example: Example, files: Mapping[str, str]) -> list[Message]:
    """A program with gaps -> the files that fill them."""
    task = f"{COMPLETE} Write them, without `pass` or TODO. Reply with the changed files."
    return _messages(_CODER, f"{_program(example, files)}\n\n{task}\n\n{_RULES}\n\n{_FORM}")


def review(example: Example, files: Mapping[str, str]) -> list[Message]:
    """Program -> the comment that matters most."""
    task = (
        f"{REVIEW} Is everything imported that is used, is every function written, does what is "
        "called exist and fit, does the program do all that the description asks for, and would it start? Name the "
        f"one change that matters most and how to make it, in a few sentences. If there is none, reply {FINISHED}."
    )
    return _messages(_REVIEWER, f"{_program(example, files)}\n\n{task}")


def revise(example: Example, files: Mapping[str, str], comment: str) -> list[Message]:
    """Program and comment -> the changed files."""
    task = f"A review says:\n\n{comment}\n\n{REVISE} Reply with the changed files."
    return _messages(_CODER, f"{_program(example, files)}\n\n{task}\n\n{_RULES}\n\n{_FORM}")


def explain(example: Example, files: Mapping[str, str], complaint: str) -> list[Message]:
    """Program and traceback -> why it fails."""
    task = f"It was run and failed:\n\n{complaint}\n\n{EXPLAIN}"
    return _messages(_TESTER, f"{_program(example, files)}\n\n{task}")


def fix(example: Example, files: Mapping[str, str], complaint: str, reason: str) -> list[Message]:
    """Program, traceback and reason -> the changed files."""
    task = f"It was run and failed:\n\n{complaint}\n\nA tester says:\n\n{reason}\n\n{FIX} Reply with the changed files."
    return _messages(_CODER, f"{_program(example, files)}\n\n{task}\n\n{_RULES}\n\n{_FORM}")


def _description(example: Example) -> str:
    return f"Description: {example['description']}"


def _program(example: Example, files: Mapping[str, str]) -> str:
    return f"{_description(example)}\n\nThe program:\n\n{written(files)}"


def _messages(system: str, user: str) -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
