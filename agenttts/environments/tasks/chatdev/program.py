"""A generated program, and ChatDev's measures of it (Qian et al., ACL 2024; the paper's section A.4).

    completeness     1 when no line of the Python code holds `pass` or `todo`, whatever the case; lines with `password`,
                     `passenger`, `passed` or `passes` do not count. No code at all counts as complete.
    executability    1 when `python main.py` ends well within 3 seconds, or still runs then, without a traceback
    consistency      cosine of the embeddings of the description and of the code without comments and docstrings
    quality          their product

The authors take executability by the traceback alone, since they read the exit code too early, and leave projects whose
consistency fails out of all three means; here an exit code counts, and what fails scores 0 and is counted. A negative
cosine is 0.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts.environments.tasks.chatdev.files import MAIN
from agenttts.environments.tasks.chatdev.sandbox import ProgramLimits, ProgramOutcome, execute
from agenttts.pipeline import Example, SubtaskRun
from agenttts.pipeline.fingerprint import identified

RUN_SECONDS = 3
_PLACEHOLDER = re.compile(r"pass|todo", re.IGNORECASE)
_INNOCENT = re.compile(r"password|passenger|passed|passes", re.IGNORECASE)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


@dataclass(frozen=True)
class Program:
    """What a stage passes on: the files, and what was measured of them there."""

    files: Mapping[str, str]
    consistency: float = 0.0
    executability: float = 0.0

    @property
    def completeness(self) -> float:
        """1 or 0; see the module."""
        return float(not any(_is_placeholder(line) for text in _python(self.files) for line in text.splitlines()))


@identified("tasks.chatdev.completeness", version=1)
def completeness(output: Program, _: Example) -> float:
    """Metric: whether nothing is left to be written."""
    return output.completeness


@identified("tasks.chatdev.executability", version=1)
def executability(output: Program, _: Example) -> float:
    """Metric: whether it ran, as the last stage saw."""
    return output.executability


@identified("tasks.chatdev.consistency", version=1)
def consistency(output: Program, _: Example) -> float:
    """Metric: how near the code is to the description, as the stage measured. The paper's main one."""
    return output.consistency


@identified("tasks.chatdev.quality", version=1)
def quality(output: Program, _: Example) -> float:
    """Metric: completeness x executability x consistency."""
    return output.completeness * output.executability * output.consistency


async def run(files: Mapping[str, str]) -> ProgramOutcome:
    """The program's first seconds, in a sandbox."""
    return await execute(files, main=MAIN, limits=ProgramLimits(wall_s=RUN_SECONDS))


def ran(outcome: ProgramOutcome) -> bool:
    """Whether a program is executable by how it ended."""
    going = outcome.stopped in ("wall time", "output")
    return (going or outcome.exit_code == 0) and "Traceback (most recent call last)" not in outcome.stderr


def complaint(outcome: ProgramOutcome) -> str:
    """What went wrong, without what differs between two runs of the same program."""
    reason = f"stopped at its limit of {outcome.stopped}" if outcome.stopped else f"exit code {outcome.exit_code}"
    return f"{_ADDRESS.sub('0x...', outcome.stderr[-2000:]).strip()}\n({reason})"


async def measured_consistency(files: Mapping[str, str], description: str, handle: SubtaskRun) -> float:
    """The consistency of a program with its description, by the environment's embedding model."""
    bare = "\n".join(bare_code(text) for text in _python(files))
    if not bare.strip() or not description.strip():
        return 0.0
    return cosine(await handle.embed(description), await handle.embed(bare))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine of two vectors, 0 where it is negative or not defined."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(np.dot(a, b) / length, 0, 1)) if length else 0.0


def bare_code(code: str) -> str:
    """Python code without comments, docstrings and empty lines; as it is where it cannot be parsed."""
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    try:
        unwanted = [*_docstrings(code), *_comments(code)]
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return code
    lines = [line.encode() for line in code.split("\n")]  # ast counts bytes
    for (first, begin), (last, end) in sorted(unwanted, reverse=True):
        lines[first - 1 : last] = [lines[first - 1][:begin] + lines[last - 1][end:]]
    return "\n".join(line.decode().rstrip() for line in lines if line.strip())


Span = tuple[tuple[int, int], tuple[int, int]]
"""(line from 1, byte) of a begin and an end."""


def _docstrings(code: str) -> list[Span]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in generated code is nobody's news
        bodies = [node.body for node in ast.walk(ast.parse(code)) if isinstance(node, documented)]
    texts = [body[0] for body in bodies if body and isinstance(body[0], ast.Expr) and _is_text(body[0].value)]
    return [((t.lineno, t.col_offset), (t.end_lineno or t.lineno, t.end_col_offset or 0)) for t in texts]


def _is_text(value: Any) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _comments(code: str) -> list[Span]:
    lines = code.split("\n")
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    starts = [token.start for token in tokens if token.type == tokenize.COMMENT]
    return [  # to the end of the line, whatever it holds
        ((line, len(lines[line - 1][:column].encode())), (line, len(lines[line - 1].encode())))
        for line, column in starts
    ]


def _python(files: Mapping[str, str]) -> list[str]:
    """The Python files, by name."""
    return [text for name, text in sorted(files.items()) if name.endswith(".py")]


def _is_placeholder(line: str) -> bool:
    return bool(_PLACEHOLDER.search(line)) and not _INNOCENT.search(line)
