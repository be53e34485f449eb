"""What a function or class consists of: its code, and the values that it holds and looks up."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import EnumMeta
from importlib import import_module
from importlib.util import resolve_name
from inspect import cleandoc, unwrap
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, Protocol

from agenttts.pipeline.fingerprint.code import Lookups, bytecode, class_source, computes_names, function_text, lookups
from agenttts.pipeline.fingerprint.origin import Origin, is_users_module, origin

_OF_MACHINE = frozenset("__builtins__ __cached__ __file__ __loader__ __name__ __package__ __path__ __spec__".split())
"""Globals that say where a module lies, not what it does."""
_OF_FIELDS = (
    "__annotations__",
    "__attrs_attrs__",
    "__dataclass_fields__",
    "__pydantic_fields__",
    "__struct_defaults__",
    "__struct_fields__",
)
"""What class decorators and metaclasses keep of the fields that a class declares."""
_GENERATED = {"__attrs_attrs__", "__dataclass_fields__", "_fields"}
_MACHINERY = {"_abc_impl", "__dict__", "__weakref__", "__identity__", "__wrapped__"}
_LAZY = {"__annotate__", "__annotate_func__", "__annotations_cache__", "__classdictcell__"}
"""What works out annotations when they are asked for, from Python 3.14 on."""
_DISPATCH = "singledispatch.<locals>.wrapper"
"""Of `functools`: its closure holds what it dispatched before."""
_COMPUTED = {"globals", "locals", "eval", "exec", "__import__", "import_module"}


class Describer(Protocol):
    """What describes the parts."""

    uncovered: dict[str, None]

    def of(self, value: Any) -> str:
        """The text of a value."""
        ...

    def named(self, place: str, name: str, value: Any, found: Lookups | None = None) -> str:
        """`name=text`, at a place that is named where the value cannot be read."""
        ...


def name_of(code: Any) -> str:
    """A function or class, as what is not covered names it."""
    module = code.__globals__.get("__name__") if isinstance(code, FunctionType) else code.__module__
    return code.__qualname__ if module in (None, "__main__") else f"{module}.{code.__qualname__}"


def scope_of(code: Any) -> dict[str, Any]:
    """The globals of a function or class."""
    if isinstance(code, FunctionType):
        return code.__globals__
    module = sys.modules.get(code.__module__)
    if module is not None:
        return vars(module)
    methods = (each for each in vars(code).values() if isinstance(each, FunctionType))
    return next((each.__globals__ for each in methods), {})


def function_body(walk: Describer, function: FunctionType) -> str:
    """A function at length: its code, defaults, closure, attributes and, of a user's function, its globals."""
    code, users = function.__code__, origin(function) is Origin.USER
    found, of = lookups(code), f"of {name_of(function)}"
    text = function_text(code, function.__globals__, walk.of) if users else f"library {code.co_qualname}"
    parts = [text, cleandoc(function.__doc__ or "")]
    kinds: list[tuple[str, Iterable[tuple[str, Any]]]]
    kinds = [("default", _defaults(function)), ("closure variable", _cells(function)), ("attribute", _own(function))]
    if code.co_qualname == _DISPATCH:
        kinds = [("attribute", [("registry", dict(vars(function)["registry"]))])]
    if users:
        kinds.append(("global", _globals(function, found)))
        kinds.append(("import", _imports(walk, function, found)))
        _note_computed(walk, function, found)
    for kind, values in kinds:
        parts += [walk.named(f"{kind} {name!r} {of}", name, each, found) for name, each in values]
    return "\n".join(parts)


def sketch_of(walk: Describer, code: Any) -> str:
    """What tells a function or class from others in a set: its own code, and what its closure holds."""
    if not isinstance(code, FunctionType):
        return str(code.__qualname__)
    cells = [f"{name}={walk.of(each)}" for name, each in _cells(code)]
    return f"{bytecode(code.__code__, walk.of)} {cells}"


def class_body(walk: Describer, kind: type) -> str:
    """A class at length: its statement, bases and members, as they are now."""
    scope, of = scope_of(kind), f"of {name_of(kind)}"
    source = class_source(kind, _file_of(kind))
    parts = [kind.__qualname__, walk.of(type(kind)), walk.of(list(kind.__bases__)), _documentation(kind)]
    if source is not None:
        found = Lookups(source.names, source.names, frozenset(), ())
        names = sorted(name for name in source.names & scope.keys() if name not in _OF_MACHINE)
        values = [(name, scope[name]) for name in names if scope[name] is not kind]
        parts += [source.text, *(walk.named(f"global {name!r} {of}", name, each, found) for name, each in values)]
    parts += [walk.named(f"attribute {name!r} {of}", name, each) for name, each in _members(kind)]
    return "\n".join(parts)


def members_of(module: ModuleType, found: Lookups | None) -> list[tuple[str, Any]]:
    """The attributes of a module that code names, or all of them where it is not known which are used."""
    own = vars(module)
    if origin(module) is Origin.OURS:  # whose names are loaded on first use
        names = set(getattr(module, "__all__", ())) & (found.attributes if found else frozenset())
        return [(name, getattr(module, name)) for name in sorted(names)]
    if found is None:
        names = own.keys() - _OF_MACHINE
    else:
        named = found.attributes | (found.texts if "getattr" in found.names else frozenset())
        names = own.keys() & (named | ({"__getattr__"} if named - own.keys() else set()))
    return [(name, own[name]) for name in sorted(names - _OF_MACHINE)]


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    values, count = function.__defaults__ or (), function.__code__.co_argcount
    names = function.__code__.co_varnames[:count]
    yield from zip(names[len(names) - len(values) :], values, strict=False)
    yield from sorted((function.__kwdefaults__ or {}).items())


def _cells(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a closure holds; a variable that is not set yet holds nothing."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):
            yield name, cell.cell_contents


def _own(function: FunctionType) -> list[tuple[str, Any]]:
    return sorted((name, each) for name, each in vars(function).items() if name != "__identity__")


def _globals(function: FunctionType, found: Lookups) -> list[tuple[str, Any]]:
    scope = function.__globals__
    return [(name, scope[name]) for name in sorted(found.names & scope.keys() - _OF_MACHINE)]


def _imports(walk: Describer, function: FunctionType, found: Lookups) -> Iterator[tuple[str, Any]]:
    """The user's modules that the body imports: the first call would import them too."""
    for each in sorted(found.imports):
        try:
            name = resolve_name("." * each.level + each.module, function.__globals__.get("__package__") or "")
            if not is_users_module(name):
                continue
            module = import_module(name)
            yield each.module, module
            for member in each.members:
                if not hasattr(module, member):
                    yield member, import_module(f"{name}.{member}")
        except Exception:  # whatever the module raises: the function may never come to it
            walk.uncovered[f"import {each.module!r} of {name_of(function)} (it cannot be imported)"] = None


def _note_computed(walk: Describer, function: FunctionType, found: Lookups) -> None:
    used = sorted(_COMPUTED & found.names) or sorted({"import_module"} & found.attributes)
    if used:
        walk.uncovered[f"names that {name_of(function)} looks up by {', '.join(used)}"] = None
    values = [each for _, each in (*_globals(function, found), *_cells(function))]
    modules = any(isinstance(each, ModuleType) and origin(each) is Origin.USER for each in values)
    if modules and computes_names(function.__code__, function.__globals__):
        walk.uncovered[f"attributes of modules that {name_of(function)} looks up by computed names"] = None


def _file_of(kind: type) -> str | None:
    file = scope_of(kind).get("__file__")
    if isinstance(file, str):
        return file
    methods = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
    return methods[0].__code__.co_filename if methods else None


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """The attributes of a class: code and data that its user set, and the fields that it declares."""
    generated = bool(_GENERATED & vars(kind).keys())
    for name, member in sorted(_own_members(kind).items()):
        if isinstance(member, GetSetDescriptorType | MemberDescriptorType) or name in _MACHINERY:
            continue
        is_code = isinstance(member, FunctionType | classmethod | staticmethod | property)
        if name in _OF_FIELDS or is_code and not (generated and _is_generated(name, member)):
            yield name, member
        elif not is_code and not _is_reserved(kind, name):
            yield name, member


def _own_members(kind: type) -> dict[str, Any]:
    """The class's dictionary, with its annotations where they are still to be worked out."""
    members = {name: member for name, member in vars(kind).items() if name not in _LAZY}
    if sys.version_info >= (3, 14):
        import annotationlib

        if found := annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF):
            members["__annotations__"] = found
    return members


def _documentation(kind: type) -> str:
    """The docstring, but for one that `dataclass` made up: it prints defaults."""
    text = vars(kind).get("__doc__")
    return cleandoc(text) if isinstance(text, str) and not text.startswith(f"{kind.__name__}(") else ""


def _is_reserved(kind: type, name: str) -> bool:
    """Whether Python or a metaclass keeps an attribute for itself."""
    return (name.startswith("__") and name.endswith("__")) or (isinstance(kind, EnumMeta) and name.startswith("_"))


def _is_generated(name: str, member: Any) -> bool:
    code = getattr(unwrap(getattr(member, "__func__", member)), "__code__", None)
    return name.startswith("_") and code is not None and code.co_filename.startswith("<")
