"""Declared identities: what our own functions, classes and values are called in fingerprints.

Whatever of ours can end in a pipeline declares a public name and a version. The name stays when the code moves; the
version is raised when the behaviour changes, and with nothing else. A declared dataclass counts by its fields, but for
those that it declares as `unscored`: they change a cost or a label, never an output. What a factory makes counts by
the factory's name and version and by the arguments.

    @identified("parsers.number", version=1)
    def number(sample, _): ...

    @identified_factory("parsers.tagged", version=1)
    def tagged(marker): ...

    @identified("model", version=1, unscored=("base_url", "parameters"))
    @dataclass(frozen=True)
    class Model: ...

A class may define `_identity()`: values that replace those of its fields, where two spellings mean the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_MARK = "__identity__"
_P = ParamSpec("_P")
_Made = TypeVar("_Made")
_Declared = TypeVar("_Declared")


@dataclass(frozen=True)
class Identity:
    """A public name and a version."""

    name: str
    version: int
    scored: tuple[str, ...] | None = None
    """Attributes that count; None means every field of the dataclass that is not `unscored`."""
    unscored: tuple[str, ...] = ()
    """Fields that change no output."""
    arguments: tuple[tuple[str, Any], ...] = ()
    """Those of the factory that made the function."""


DECLARED: dict[str, Identity] = {}
"""Every identity that was declared in the modules imported so far, by name."""


def identified(
    name: str, *, version: int, unscored: tuple[str, ...] = (), scored: tuple[str, ...] | None = None
) -> Callable[[_Declared], _Declared]:
    """Declare a function or class of ours.

    Args:
        name: The public name, which stays when the code moves.
        version: Raised when the behaviour changes.
        unscored: Fields of a dataclass that change no output.
        scored: The attributes that count, of a class that is no dataclass.
    """
    identity = _declared(Identity(name, version, scored, unscored))

    def mark(declared: _Declared) -> _Declared:
        setattr(declared, _MARK, (identity, declared))
        return declared

    return mark


def identified_factory(name: str, *, version: int) -> Callable[[Callable[_P, _Made]], Callable[_P, _Made]]:
    """Declare a function of ours that makes parsers or metrics: each counts by the arguments that made it.

    Args:
        name: The public name, which stays when the code moves.
        version: Raised when the behaviour changes.
    """
    identity = _declared(Identity(name, version))

    def mark(factory: Callable[_P, _Made]) -> Callable[_P, _Made]:
        signature = inspect.signature(factory)

        @wraps(factory)
        def make(*args: _P.args, **kwargs: _P.kwargs) -> _Made:
            made = factory(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            named = {n: _number(v, signature.parameters[n].annotation) for n, v in bound.arguments.items()}
            setattr(made, _MARK, (Identity(name, version, arguments=tuple(named.items())), made))
            return made

        setattr(make, _MARK, (identity, make))
        return make

    return mark


def identity_of(declared: Any) -> Identity | None:
    """The identity of a function or class; None where it has none of its own."""
    try:
        found, owner = vars(declared)[_MARK]
    except (TypeError, KeyError, ValueError):
        return None
    # `functools.wraps` copies a function's attributes to what wraps it.
    return found if isinstance(found, Identity) and owner is declared else None


def unscored_by(kind: type) -> frozenset[str]:
    """Fields that change no output, by the declarations of a class and its bases."""
    declared = (identity_of(base) for base in kind.__mro__)
    return frozenset(name for identity in declared if identity for name in identity.unscored)


def scored_values(value: Any, identity: Identity) -> Mapping[str, Any]:
    """The attributes by which an object of a declared class counts."""
    if identity.scored is not None:
        found = {name: getattr(value, name) for name in identity.scored}
    elif is_dataclass(value):
        kept = [each for each in fields(value) if each.name not in identity.unscored]
        found = {each.name: _number(getattr(value, each.name), each.type) for each in kept}
    else:
        found = {}
    return {**found, **value._identity()} if hasattr(value, "_identity") else found


def _number(value: Any, annotation: Any) -> Any:
    """A number that is declared as float, as float: 1 and 1.0 are the same temperature."""
    is_float = (
        annotation in (float, "float", "float | None")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    )
    return float(value) if is_float else value


def _declared(identity: Identity) -> Identity:
    known = DECLARED.setdefault(identity.name, identity)
    if known != identity:
        raise ValueError(f"{identity.name!r} is declared twice")
    return identity
