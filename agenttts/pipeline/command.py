"""A pipeline that is a program in any language: what is run, and what of it identifies a study."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from agenttts._util.checks import COUNT, NAME, POSITIVE, instance, members, require_fields
from agenttts._util.text import bounded
from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint import identified

_SHOWN = 100
_BOOL = instance(bool, "True or False")


@identified("command", version=1, unscored=("at_once",))
@dataclass(frozen=True)
class Command:
    """A command that is a whole pipeline: it asks each step at an address of this machine.

    The address of step `answer` is in the environment variable `AGENTTTS_STEP_answer` and speaks the OpenAI protocol
    (`POST .../chat/completions`); whatever model a request names, the allocation decides. `OPENAI_BASE_URL` is an
    address at which the model's name says the step (`step:answer`), and any name will do where there is but one;
    `OPENAI_API_KEY` is set to a word, which nobody checks. Addresses are new with each process, and cannot be guessed.

    A study's identity covers the arguments, and the content of the files among them; not what those load, the version
    of a program that is found by its name, or the environment's variables.

    Examples:
        >>> stages = [at.Subtask("find", (small, large)), at.Subtask("answer", (small, large))]
        >>> pipeline = at.Pipeline("app", stages, at.metrics.exact_match("gold"), command=["node", "app.js"])
        >>> pipeline.command == at.Command(["node", "app.js"], keep=False, timeout_s=120, at_once=8)
        True

    Raises:
        ConfigError: On no arguments, or a field of another type.
    """

    arguments: Sequence[str]
    """The program and its arguments; no shell reads them. Paths are relative to the working directory."""
    _: KW_ONLY
    keep: bool = False
    """False: the command is started for each example, which it reads from standard input as one JSON object; its
    standard output is the answer. True: it is kept running, reads an example a line, and answers each with one line of
    JSON, which it has to flush."""
    timeout_s: float = 120.0
    """Seconds that it may take for one example, waiting for models not counted."""
    at_once: int = 8
    """Examples that are run at once, each in a process of its own."""

    def __post_init__(self) -> None:
        if isinstance(self.arguments, str):
            raise ConfigError(f"a command is a list of words, not one text: {shlex.split(self.arguments)!r}")
        object.__setattr__(self, "arguments", members(self.arguments, NAME, "the words of a command"))
        if not self.arguments:
            raise ConfigError("a command needs at least the name of a program")
        where = f"command {self.text!r}"
        require_fields(self, where, {"keep": _BOOL, "timeout_s": POSITIVE, "at_once": COUNT})

    @property
    def text(self) -> str:
        """As one would type it, but that files are named without their folders."""
        words = (word if word[-1:] in ("", "/") or " " in word else word.rpartition("/")[2] for word in self.arguments)
        return bounded(shlex.join(words), _SHOWN)

    @property
    def uncovered(self) -> str:
        """What its identity does not cover, in words."""
        return f"what the command {self.text!r} loads beside the files that it names, and the versions of programs"

    def _identity(self) -> Mapping[str, Any]:
        return {"arguments": tuple(map(_identified_word, self.arguments))}


def _identified_word(word: str) -> str | tuple[str, str]:
    """A word of a command; a file's name and content where it names one (`app.js`, `--config=app.json`)."""
    path = Path(word.rpartition("=")[2] if word.startswith("-") else word)
    try:
        return path.name, hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return word
