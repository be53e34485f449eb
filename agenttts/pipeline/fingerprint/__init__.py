"""Stable texts of values, for fingerprints that change whenever scores could, and with nothing else.

**Data** count by content, whatever the order of their sets; the order of a mapping counts where the user's code can
iterate over it, and not in examples. A path within the folder of the user's modules counts relative to it.

**Our own** functions, classes and values count by a declared name and version (`declared`): moving or
rewriting them changes nothing as long as they do the same.

**The user's** functions and classes count by what they do: their source without comments and layout, docstrings
included; their defaults, closures, attributes, bases and members; and the globals that they name, helpers of helpers
included, in whichever of the user's modules they stand.

**Objects** count by their state: content, attributes and slots, read without running code of theirs. One of a library
counts if everything in it can be read.

Two processes that run the same program get the same text: none holds an address, a folder of the machine or the order
of a hash.

Not covered, and named by `uncovered`: objects whose state changes by itself or cannot be read (clients, files,
iterators, random generators, caches; not loggers and locks, which decide nothing), and names that code computes
(`globals`, `eval`, `getattr` of a module). Never covered, and not named: the code of installed packages, of the
standard library and of agenttts (they have versions), files that functions read, values of context variables, and what
changes while a program runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agenttts.pipeline.fingerprint.declared import DECLARED, Identity, identified, identified_factory
from agenttts.pipeline.fingerprint.walk import Walk

__all__ = [
    "DECLARED",
    "SCHEME",
    "Identity",
    "combined",
    "describe",
    "fingerprint",
    "identified",
    "identified_factory",
    "uncovered",
]

SCHEME = "the identity scheme", "2"
"""A part of every pipeline's fingerprints: which version of this package told its parts apart."""


def fingerprint(text: str) -> str:
    """The hash by which texts are compared."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def combined(parts: Mapping[str, str]) -> str:
    """One fingerprint of named ones."""
    return fingerprint(json.dumps(parts, sort_keys=True))


def describe(value: Any) -> str:
    """A stable text of a value.

    Raises:
        ConfigError: When it holds a function or object of agenttts that declares no name and version.
    """
    return Walk().text(value)


def uncovered(value: Any) -> tuple[str, ...]:
    """What `describe` cannot read of a value, each as in "global 'client' of answer.parse (openai.AsyncOpenAI)".

    Raises:
        ConfigError: As `describe`.
    """
    walk = Walk()
    walk.text(value)
    return tuple(walk.uncovered)
