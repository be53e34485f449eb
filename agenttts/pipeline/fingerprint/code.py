"""What a function or class says: its source without comments and layout, and the names that it looks up.

The source is read as a syntax tree, found by the position of the code object, so that a decorator's wrapper is not
taken for what it wraps, nor a lambda for another of its line. Code without a source (of `exec`, of a shell) counts by
its bytecode, which differs between versions of Python.
"""

from __future__ import annotations

import ast
import dis
import linecache
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

_LOOKUPS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_CODE = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_BY_NAME = {"getattr", "vars", "dir"}
_LAYOUT = {"ctx", "kind", "type_comment", "type_ignores"}


class Import(NamedTuple):
    """An import statement in a function's body."""

    module: str
    level: int
    """Number of leading dots."""
    members: tuple[str, ...]
    """What `from` takes; none for a plain import."""


class Lookups(NamedTuple):
    """What code looks up outside of itself, the functions in it included."""

    names: frozenset[str]
    """Names of globals and builtins."""
    attributes: frozenset[str]
    """Every name in the code: attributes of whatever value, too."""
    texts: frozenset[str]
    """Its text constants, which `getattr` may take."""
    imports: tuple[Import, ...]


def lookups(code: CodeType) -> Lookups:
    """What the code looks up."""
    names, imports, before = set(), [], [None, None]
    for step in dis.get_instructions(code):
        if step.opname in _LOOKUPS:
            names.add(step.argval)
        elif step.opname == "IMPORT_NAME":
            level, members = before
            imports.append(Import(step.argval, level if isinstance(level, int) else 0, tuple(members or ())))
        before = [before[1], step.argval]
    inner = [lookups(each) for each in code.co_consts if isinstance(each, CodeType)]
    return Lookups(
        frozenset(names).union(*(each.names for each in inner)),
        frozenset(code.co_names).union(*(each.attributes for each in inner)),
        frozenset(each for each in code.co_consts if isinstance(each, str)).union(*(each.texts for each in inner)),
        (*imports, *(found for each in inner for found in each.imports)),
    )


def function_text(code: CodeType, module: dict[str, Any], of: Callable[[Any], str]) -> str:
    """A function's own code.

    Args:
        code: Of the function.
        module: Its globals, by which a source that is no file is found.
        of: The text of a constant.
    """
    node = _function_node(code, module)
    return bytecode(code, of) if node is None else _tree_text(node)


def bytecode(code: CodeType, of: Callable[[Any], str]) -> str:
    """The text of code whose source cannot be read."""
    constants = [bytecode(each, of) if isinstance(each, CodeType) else of(each) for each in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount)
    return f"{code.co_name} {code.co_code.hex()} {names} {constants}"


def computes_names(code: CodeType, module: dict[str, Any]) -> bool:
    """Whether code may look up attributes by names that are not in it."""
    node = _function_node(code, module)
    if node is None:
        return bool(_BY_NAME & lookups(code).names)
    return any(
        call.func.id in _BY_NAME and not (len(call.args) > 1 and isinstance(call.args[1], ast.Constant))
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    )


class ClassSource(NamedTuple):
    """The source of a class."""

    text: str
    names: frozenset[str]
    """Names in its bases, decorators, annotations and assigned values."""


def class_source(kind: type, file: str | None) -> ClassSource | None:
    """The class statement; None where it cannot be found, as for a class that a function call made."""
    nodes = _index(_source(file, {})).classes.get(kind.__qualname__, ()) if file else ()
    line = vars(kind).get("__firstlineno__")  # from Python 3.13 on
    nodes = [node for node in nodes if line is None or _first_line(node) == line]
    if not nodes:
        return None
    names = frozenset(name for node in nodes for name in _statement_names(node))
    return ClassSource("\n".join(map(_tree_text, nodes)), names)


class _Index(NamedTuple):
    """The functions of a file by their first line, its classes by their qualified name."""

    functions: dict[int, list[_CODE]]
    classes: dict[str, list[ast.ClassDef]]


@lru_cache(maxsize=64)
def _index(source: str) -> _Index:
    index = _Index({}, {})
    try:
        _add(index, ast.parse(source), "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _Index({}, {})
    return index


def _add(index: _Index, node: ast.AST, scope: str) -> None:
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, ast.ClassDef):
            index.classes.setdefault(scope + child.name, []).append(child)
            inner = f"{scope}{child.name}."
        elif isinstance(child, _CODE):
            index.functions.setdefault(_first_line(child), []).append(child)
            inner = f"{scope}{getattr(child, 'name', '<lambda>')}.<locals>."
        _add(index, child, inner)


def _first_line(node: Any) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([int(node.lineno), *(each.lineno for each in decorators)])


def _source(file: str, module: dict[str, Any]) -> str:
    linecache.checkcache(file)
    return "".join(linecache.getlines(file, module))


def _function_node(code: CodeType, module: dict[str, Any]) -> _CODE | None:
    found = _index(_source(code.co_filename, module)).functions.get(code.co_firstlineno, ())
    same = [node for node in found if getattr(node, "name", "<lambda>") == code.co_name and _fits(node, code)]
    return min(same, key=_extent) if same else None


def _fits(node: _CODE, code: CodeType) -> bool:
    """Whether a node has the code's parameters, and a lambda all of its positions, or else its constants."""
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    count = code.co_argcount + code.co_kwonlyargcount
    if [each.arg for each in every] != [_unmangled(name, each.arg) for name, each in _pairs(code, every, count)]:
        return False
    if not isinstance(node, ast.Lambda):
        return True
    places = list(_positions(code))
    if places:
        return all(_within(node.body, place) for place in places)
    # Python 3.12 gives what only returns a constant no positions.
    return repr(code.co_consts) in map(repr, _constants(node))


def _constants(node: ast.Lambda) -> Iterator[tuple[Any, ...]]:
    """The constants of a lambda's code."""
    for each in compile(ast.Expression(node), "<lambda>", "eval").co_consts:
        if isinstance(each, CodeType):
            yield each.co_consts


def _pairs(code: CodeType, parameters: list[ast.arg], count: int) -> Iterator[tuple[str, ast.arg]]:
    return iter(zip(code.co_varnames[:count], parameters, strict=False))


def _unmangled(name: str, written: str) -> str:
    """A parameter such as `__x` is kept as `_Class__x` within a class."""
    return written if name.startswith("_") and name.endswith(written) else name


def _positions(code: CodeType) -> Iterator[tuple[int, int, int, int]]:
    """(line, column, last line, last column) of each instruction; the first stand for no expression."""
    for line, last, column, end in code.co_positions():
        if None in (line, last, column, end):
            continue
        if (line, column, last, end) != (code.co_firstlineno, 0, code.co_firstlineno, 0):
            yield line or 0, column or 0, last or 0, end or 0


def _within(body: ast.expr, place: tuple[int, int, int, int]) -> bool:
    line, column, last, end = place
    return (body.lineno, body.col_offset) <= (line, column) and (last, end) <= (
        body.end_lineno or 0,
        body.end_col_offset or 0,
    )


def _extent(node: _CODE) -> tuple[int, int]:
    lines = (node.end_lineno or 0) - node.lineno
    return lines, (node.end_col_offset or 0) - (0 if lines else node.col_offset)


def _statement_names(node: ast.AST) -> Iterator[str]:
    """Names that a class statement itself reads: not those in the bodies of its methods."""
    for field, value in ast.iter_fields(node):
        if field == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Name):
                yield child.id
            elif isinstance(child, ast.Attribute):
                yield child.attr
            elif isinstance(child, ast.Constant) and isinstance(child.value, str) and child.value.isidentifier():
                yield child.value  # an annotation that is written as text
            if isinstance(child, ast.AST):
                yield from _statement_names(child)


def _tree_text(node: ast.AST) -> str:
    """A syntax tree without positions; empty fields are left out, for later versions of Python add some."""
    parts = []
    for field, value in ast.iter_fields(node):
        if value is not None and value != [] and field not in _LAYOUT:
            parts.append(f"{field}={_part_text(value)}")
    return f"{type(node).__name__}({', '.join(parts)})"


def _part_text(value: Any) -> str:
    if isinstance(value, ast.AST):
        return _tree_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_part_text, value)) + "]"
    return sys.intern(value) if type(value) is str and value.isidentifier() else repr(value)
