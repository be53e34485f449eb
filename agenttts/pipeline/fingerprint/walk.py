"""One walk through a value and everything that it refers to; what it guarantees is said in `fingerprint`.

Functions and classes are numbered as they are met and described one after another, each once, so that neither a long
chain of helpers nor two that call one another goes deep. Data are described where they stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, MethodWrapperType, ModuleType
from typing import Any

from agenttts.errors import ConfigError
from agenttts.pipeline.fingerprint.bodies import class_body, function_body, members_of, name_of, scope_of, sketch_of
from agenttts.pipeline.fingerprint.code import Lookups, bytecode
from agenttts.pipeline.fingerprint.declared import Identity, identity_of, scored_values, unscored_by
from agenttts.pipeline.fingerprint.objects import Hidden, is_live, is_silent, reader_of, reduced, state
from agenttts.pipeline.fingerprint.origin import Origin, folder_of, is_named, origin, qualified

_PLAIN = frozenset({int, float, bool, complex, bytes, type(None), type(...), type(NotImplemented)})
_DEEPEST = 80
"""Levels of data within data that are read."""
_MOST = 20_000
"""Objects that are read of one object of a library."""
_LONGEST = 1000
"""Characters of an object's text; a hash takes the place of a longer one."""


class _Unreadable(Exception):
    """Something within a library's object cannot be read, so the object cannot."""


class Walk:
    """What one value says, and what of it could not be read."""

    def __init__(self, *, sketch: bool = False) -> None:
        self._sketching = sketch
        """Whether functions and classes are told apart by their own code alone."""
        self.uncovered: dict[str, None] = {}
        self._codes: list[Any] = []
        """Functions and classes met so far; each is called by its place."""
        self._labels: dict[int, str] = {}
        self._known: dict[int, tuple[Any, str]] = {}
        """Objects met so far, kept alive, with their texts."""
        self._inside: set[int] = set()
        """What is being described: a reference back to it ends there."""
        self._modules: set[int] = set()
        self._place = "the value"
        self._owner = ""
        """The user's function or class that is being described."""
        self._folder: str | None = None
        self._budget: int | None = None
        """Objects that may still be read of a library's object; None outside of one."""
        self._met: dict[str, Any] | None = None
        """The functions and classes in a library's object that cannot be read; None outside of one."""

    def text(self, value: Any) -> str:
        """The whole text of a value."""
        parts = [self.of(value)]
        for code in self._codes:  # which grows
            parts.append(f"{self._label(code)}: {self._body(code)}")
        return "\n".join(parts)

    def _body(self, code: Any) -> str:
        with self.within(code):
            return function_body(self, code) if isinstance(code, FunctionType) else class_body(self, code)

    def of(self, value: Any) -> str:
        """The text of a value at its place."""
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if kind is str:
            return repr(value) if self._folder is None else self._string(value)
        if id(value) in self._inside:
            return "..."
        if len(self._inside) > _DEEPEST:
            return self._opaque(value, f"nested deeper than {_DEEPEST} levels")
        self._spend()
        self._inside.add(id(value))
        try:
            return self._container(kind, value) or self._code(value) or self._object(kind, value)
        finally:
            self._inside.discard(id(value))

    def _string(self, value: str) -> str:
        """A text; a path within the folder of the user's modules does not depend on where that is."""
        start = f"{self._folder}/"
        return repr(value[len(start) :] if f"{value}/".startswith(start) else value)

    def _container(self, kind: type, value: Any) -> str:
        """The text of plain data; empty for anything else."""
        if kind is dict:
            items = [f"{self.of(key)}: {self.of(item)}" for key, item in value.items()]
            # What the user's code iterates over has an order; the fields of an example have none.
            return "{" + ", ".join(items if self._owner else sorted(items)) + "}"
        if kind is list:
            return "[" + ", ".join(map(self.of, value)) + "]"
        if kind is tuple:
            return "(" + ", ".join(map(self.of, value)) + ",)"
        if kind is set or kind is frozenset:
            return f"{kind.__name__}({', '.join(map(self.of, self._sorted(value)))})"
        return ""

    def _sorted(self, values: Iterable[Any]) -> list[Any]:
        """The members of a set in an order that is the same in every process."""
        sketch = Walk(sketch=True)
        sketch._owner, sketch._folder = self._owner, self._folder
        return sorted(values, key=sketch.of)

    def _code(self, value: Any) -> str:
        """The text of a function, class or module; empty for any other object."""
        identity = identity_of(value)
        if identity is not None:
            return self._identified(identity, dict(identity.arguments), "")
        if isinstance(value, Identity):
            return self._identified(value, {}, "")
        if isinstance(value, type | FunctionType):
            return self._function_or_class(value)
        if isinstance(value, MethodType):
            return f"{self.of(value.__func__)} of {self.of(value.__self__)}"
        if isinstance(value, BuiltinFunctionType | MethodWrapperType):
            bound = getattr(value, "__self__", None)
            named = bound is None or isinstance(bound, ModuleType)
            return qualified(value) if named else f"{value.__qualname__} of {self.of(bound)}"
        if isinstance(value, CodeType):
            return bytecode(value, self.of)
        if isinstance(value, ModuleType):
            return self._module(value, None)
        return ""

    def _function_or_class(self, value: Any) -> str:
        whose = origin(value)
        if whose is Origin.OURS:
            self._require_declared(value)
            name = value.__qualname__
            return self._label(value) if isinstance(value, FunctionType) and value.__closure__ else f"agenttts {name}"
        return qualified(value) if whose is Origin.LIBRARY and is_named(value) else self._label(value)

    def _label(self, value: Any) -> str:
        if self._sketching:
            return sketch_of(self, value)
        if id(value) not in self._labels:
            self._codes.append(value)
            self._labels[id(value)] = f"#{len(self._codes)}"
        label = self._labels[id(value)]
        if self._met is not None:
            self._met[label] = value
        return label

    def _require_declared(self, value: Any) -> None:
        """What of ours a pipeline holds must have a name and a version; what the user's code uses has ours."""
        if not self._owner and not (isinstance(value, type) and issubclass(value, Exception)):
            raise ConfigError(
                f"{qualified(value)} of agenttts has no declared name and version, so it cannot be part of a pipeline: "
                "call it from a function of your own"
            )

    def _identified(self, identity: Identity, values: Mapping[str, Any], of: str) -> str:
        texts = [self.named(f"{name!r} of {of or identity.name}", name, values[name]) for name in sorted(values)]
        return f"{identity.name} {identity.version}({', '.join(texts)})"

    def named(self, place: str, name: str, value: Any, found: Lookups | None = None) -> str:
        """`name=text`, at a place that is named where the value cannot be read."""
        before, self._place = self._place, place
        try:
            module = isinstance(value, ModuleType)
            return f"{name}={self._module(value, found) if module else self.of(value)}"
        finally:
            self._place = before

    # Objects

    def _object(self, kind: type, value: Any) -> str:
        if id(value) not in self._known:
            identity = identity_of(kind)
            if identity is not None:
                of = f"{identity.name} {getattr(value, 'name', '')!r}"
                text = self._identified(identity, scored_values(value, identity), of)
            else:
                text = self._instance(kind, value)
            short = len(text) <= _LONGEST
            digest = "" if short else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            self._known[id(value)] = value, text if short else f"{kind.__qualname__}:{digest}"
        return self._known[id(value)][1]

    def _instance(self, kind: type, value: Any) -> str:
        if isinstance(value, Enum):
            own = {name: each for name, each in state(value).items() if not name.startswith("_")}
            return f"{self.of(kind)}.{value.name}={self.of(value.value)}{self.of(own) if own else ''}"
        whose, reader = origin(kind), reader_of(kind)
        if whose is Origin.OURS:
            self._require_declared(kind)
        if whose is Origin.USER:
            with self.within(kind):
                return f"{self.of(kind)}({self._content(value)})"
        if reader is not None:
            return f"{qualified(kind)}({self._content(value)})"
        if is_live(value) or is_silent(value):
            return self._opaque(value)
        return self._library_object(value)

    def _content(self, value: Any) -> str:
        """What an object holds: what its reader reads, and its attributes."""
        kind, reader = type(value), reader_of(type(value))
        parts = [] if reader is None else [self.of(reader.content(value))]
        try:
            own = state(value)
        except Hidden:
            own = {}
            parts.append(self._reduced(value))
        kept = sorted(name for name in own.keys() - unscored_by(kind) if isinstance(name, str))
        place = f"of {name_of(kind)}"
        return ", ".join(parts + [self.named(f"attribute {name!r} {place}", name, own[name]) for name in kept])

    def _reduced(self, value: Any) -> str:
        try:
            return self.of(reduced(value))
        except Hidden:
            return self._opaque(value)

    def _library_object(self, value: Any) -> str:
        """An object of a library: all of what it holds, or only the user's code in it."""
        budget, codes, known = self._budget, len(self._codes), len(self._known)
        if self._budget is None:
            self._budget = _MOST
        try:
            return f"{qualified(type(value))}({self._content(value)})"
        except _Unreadable:
            self._forget(codes, known)
            if budget is not None:
                raise
        finally:
            self._budget = budget
        return self._opaque(value) + self._salvaged(value)

    def _forget(self, codes: int, known: int) -> None:
        """Go back to the first of what was met."""
        for code in self._codes[codes:]:
            del self._labels[id(code)]
        del self._codes[codes:]
        for key in list(self._known)[known:]:
            del self._known[key]

    def _salvaged(self, value: Any) -> str:
        """The user's functions and classes in an object that cannot be read."""
        known, met = len(self._known), dict[str, Any]()
        self._met, self._budget = met, _MOST
        with suppress(_Unreadable):
            self._content(value)
        self._met, self._budget = None, None
        self._forget(len(self._codes), known)
        found = [label for label, code in met.items() if origin(code) is Origin.USER]
        return f" with {', '.join(found)}" if found else ""

    def _opaque(self, value: Any, why: str = "") -> str:
        """An object that is not read: it is only there."""
        name = why or qualified(type(value))
        if is_silent(value):
            return "silent"
        if self._met is not None:
            return name
        if self._budget is not None:
            raise _Unreadable
        self.uncovered[f"{self._place} ({name})"] = None
        return name

    def _spend(self) -> None:
        if self._budget is not None:
            self._budget -= 1
            if self._budget < 0:
                raise _Unreadable

    @contextmanager
    def within(self, code: Any) -> Iterator[None]:
        """Describe what belongs to a function or class of the user's."""
        before = self._owner, self._folder, self._budget
        self._owner, self._folder, self._budget = name_of(code), folder_of(scope_of(code)), None
        try:
            yield
        finally:
            self._owner, self._folder, self._budget = before

    def _module(self, module: ModuleType, found: Lookups | None) -> str:
        """The attributes of a module that code names; all of a user's module where it is passed on as a value."""
        whose = origin(module)
        if whose is Origin.LIBRARY or id(module) in self._modules:
            return module.__name__ if whose is Origin.LIBRARY else "..."
        members = members_of(module, found)
        self._modules.add(id(module))
        texts = [self.named(f"{name!r} of module {module.__name__}", name, each, found) for name, each in members]
        self._modules.discard(id(module))
        return f"module({', '.join(texts)})"
