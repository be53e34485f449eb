"""Stable texts of values, for fingerprints that change whenever scores could.

Data counts by content, whatever the order of its sets and mappings. A function or class counts by its source, its
defaults and what its closure holds; one of the user's also by the globals that its code names: helper functions,
classes and constants, and theirs in turn, in whichever of the user's modules they stand. Two processes that read the
same files get the same text, for no text holds an identity, an address or a path.

Not covered: what installed packages, the standard library and agenttts do (they have versions), objects of their
classes that a global holds beyond being there (a client, a logger, a lock: their state changes by itself), attributes
looked up at run time, and files that a function reads.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID

_STANDARD_LIBRARY = Path(os.__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}
_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), range, Decimal, Fraction, date, time, timedelta, UUID)

# Fields that change cost or placement but never a score: they must not change a fingerprint.
_NOT_SCORED = {
    "base_url", "api_key_env", "usd_per_million_prompt_tokens", "usd_per_million_completion_tokens", "layers",
    "hidden_size", "kv_width", "weight_bits", "prefill_tokens_per_s", "decode_tokens_per_s",
    "prompt_tokens", "completion_tokens", "max_samples", "sample_counts", "parameters",
}  # fmt: skip


def fingerprint(text: str) -> str:
    """The hash by which texts are compared."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def combined(parts: Mapping[str, str]) -> str:
    """One fingerprint of named ones."""
    return fingerprint(json.dumps(parts, sort_keys=True))


def describe(value: Any) -> str:
    """A stable text of a value."""
    return _Description().of(value, declared=True)


class _Description:
    """One walk through a value and what it refers to."""

    def __init__(self) -> None:
        self._inside: list[int] = []
        """Identities of what is being described: a reference back to one of them ends there."""
        self._known: dict[int, tuple[Any, str]] = {}
        """Functions and classes met before, kept alive with their fingerprint: helpers of helpers stay cheap."""

    def of(self, value: Any, *, declared: bool = False) -> str:
        """The text of a value.

        Args:
            value: Anything.
            declared: Whether it is what the user declared, and not what that refers to.
        """
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}={self.of(value.value)}"
        if isinstance(value, _PLAIN):
            return repr(value)
        if id(value) in self._inside:
            return "..."
        self._inside.append(id(value))
        try:
            return self._compound(value) or self._instance(value, declared)
        finally:
            self._inside.pop()

    def _compound(self, value: Any) -> str:
        """The text of a container or of code; empty for any other object."""
        if isinstance(value, Mapping):
            return "{" + ", ".join(sorted(f"{self.of(key)}: {self.of(item)}" for key, item in value.items())) + "}"
        if isinstance(value, list | tuple | deque):
            return "[" + ", ".join(map(self.of, value)) + "]"
        if isinstance(value, set | frozenset):
            return "{" + ", ".join(sorted(map(self.of, value))) + "}"
        if isinstance(value, partial):
            return f"partial({self.of([value.func, value.args, value.keywords])})"
        if isinstance(value, MethodType):
            return f"{self.of(value.__func__)} of {self.of(value.__self__)}"
        if not _is_code(value):
            return ""
        if not isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):  # cached, static, ...
            return f"{type(value).__qualname__} of {self.of(value.__wrapped__)}"
        if id(value) not in self._known:
            self._known[id(value)] = value, f"{value.__qualname__}:{fingerprint(self._code(value))}"
        return self._known[id(value)][1]

    def _code(self, code: Any) -> str:
        """A function or class at length."""
        # A script and an imported module define the same, though the script is called __main__.
        name = code.__qualname__ if _is_users(code) else _library_name(code)
        bases = [base for base in getattr(code, "__bases__", ()) if _is_users(base)]
        parts = [name, self._source(code), self.of(bases)]
        for function in _functions(code):
            parts.append(self.of([function.__defaults__, function.__kwdefaults__, _cells(function)]))
            if _is_users(function):
                parts.append(self._globals(function))
        return "\n".join(parts)

    def _source(self, code: Any) -> str:
        try:
            return inspect.getsource(code)
        except (OSError, TypeError):
            return self._bytecode(code.__code__) if isinstance(code, FunctionType) else ""

    def _bytecode(self, code: CodeType) -> str:
        """What stands in for a source that cannot be read."""
        constants = [self._bytecode(c) if isinstance(c, CodeType) else self.of(c) for c in code.co_consts]
        return f"{code.co_code.hex()}{code.co_names}{constants}"

    def _globals(self, function: FunctionType) -> str:
        scope, code = function.__globals__, function.__code__
        names = sorted(name for name in _global_names(code) & scope.keys() if not name.startswith("__"))
        return ", ".join(f"{name}={self._global(scope[name], _names(code))}" for name in names)

    def _global(self, value: Any, names: set[str]) -> str:
        """What a name stands for: of a module, the attributes among the names that the code uses."""
        if isinstance(value, ModuleType) and _is_users(value) and id(value) not in self._inside:
            self._inside.append(id(value))
            used = sorted(names & vars(value).keys())
            text = ", ".join(f"{name}={self._global(vars(value)[name], names)}" for name in used)
            self._inside.pop()
            return text
        if isinstance(value, ModuleType):
            return value.__name__
        if _is_code(value) and not _is_users(value):
            return _library_name(value)
        return self.of(value)

    def _instance(self, value: Any, declared: bool) -> str:
        kind = type(value)
        users, ours = _is_users(kind), kind.__module__.partition(".")[0] == "agenttts"
        name = self.of(kind) if users else f"{kind.__qualname__} {getattr(value, '__name__', '')}"
        if isinstance(value, re.Pattern):
            return f"{name}({value.pattern!r}, {value.flags})"
        if kind.__module__ == "numpy" and hasattr(value, "dtype") and not value.dtype.hasobject:
            return f"{name}({value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()})"
        own: Mapping[str, Any] = {}
        if is_dataclass(value) and (users or ours or declared):
            own = {f.name: getattr(value, f.name, None) for f in fields(value)}
        elif users or declared:  # the state of a library's object changes by itself
            own = vars(value) if hasattr(value, "__dict__") else {}
        scored = sorted(own.keys() - _NOT_SCORED if ours else own)
        return f"{name}({', '.join(f'{n}={self.of(own[n], declared=declared and ours)}' for n in scored)})"


def _is_code(value: Any) -> bool:
    return inspect.isclass(value) or (inspect.isroutine(value) and hasattr(value, "__qualname__"))


def _is_users(code: Any) -> bool:
    """Whether a function, class or module is the user's own: neither installed, nor Python's, nor ours."""
    module = code.__name__ if isinstance(code, ModuleType) else getattr(code, "__module__", None)
    if not isinstance(module, str) or module.partition(".")[0] == "agenttts":
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:  # typed in, unless it is built into Python
        return module.partition(".")[0] not in sys.stdlib_module_names
    return not (Path(file).is_relative_to(_STANDARD_LIBRARY) or _INSTALLED & set(Path(file).parts))


def _library_name(code: Any) -> str:
    return f"{getattr(code, '__module__', '')}.{code.__qualname__}"


def _functions(code: Any) -> Iterator[FunctionType]:
    """The function itself, or the methods and properties of a user's class."""
    if isinstance(code, FunctionType):
        yield code
    elif inspect.isclass(code) and _is_users(code):
        for member in vars(code).values():
            for found in (member, *(getattr(member, name, None) for name in ("__wrapped__", "fget", "func"))):
                if isinstance(found, FunctionType):
                    yield found


def _cells(function: FunctionType) -> list[Any]:
    """What a closure holds; a variable that is not set yet holds nothing."""
    contents = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):
            contents.append(cell.cell_contents)
    return contents


def _global_names(code: CodeType) -> set[str]:
    """Names that the code and the functions in it look up outside."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return found.union(*(_global_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _names(code: CodeType) -> set[str]:
    """Every name in the code, attributes included."""
    return set(code.co_names).union(*(_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))
