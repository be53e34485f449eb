"""What can be read of an object without running its code: its content, its state, and what kind of object it is.

`content` reads kinds whose data is held in C, or whose state holds more than data. `state` reads the attributes of any
other object, from its dictionary and its slots: no property, `__getattr__` or `__reduce__` written in Python runs.
"""

from __future__ import annotations

import contextvars
import hashlib
import inspect
import re
from collections.abc import Callable
from functools import cached_property
from logging import Logger, LoggerAdapter
from types import FunctionType, MemberDescriptorType
from typing import Any, NamedTuple

_LIVE = ("__next__", "__anext__", "__await__", "__enter__", "__aenter__", "close", "aclose")
_LIVE_NAMES = re.compile(r"client|session|connection|cache|random|generator|tracer|callback|executor|eventloop", re.I)
_SILENT_NAMES = re.compile(r"^weak|(lock|semaphore|condition|event|barrier|logger)$", re.I)
_OWN_AFFAIRS = {"__dict__", "__weakref__", "__pydantic_fields_set__", "__module__"}
_WORD = 8
"""Bytes of one slot of an object."""


class Hidden(Exception):
    """An object has data that cannot be read."""


def is_live(value: Any) -> bool:
    """Whether an object's state changes by itself, as that of clients, files, generators and caches does."""
    kind = type(value)
    if any(inspect.getattr_static(kind, name, None) is not None for name in _LIVE):
        return True
    return any(_LIVE_NAMES.search(base.__name__) for base in kind.__mro__)


def is_silent(value: Any) -> bool:
    """Whether an object is a logger, a lock or a table of weak references, which decide nothing."""
    return isinstance(value, Logger | LoggerAdapter) or bool(_SILENT_NAMES.search(type(value).__name__))


class Reader(NamedTuple):
    """What reads the objects of a class and of its subclasses."""

    base: type
    content: Callable[[Any], Any]


def reader_of(kind: type) -> Reader | None:
    """The reader of a class, or of the nearest base that has one."""
    for base in kind.__mro__:
        found = _READERS.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return Reader(base, found)
    return None


def state(value: Any) -> dict[str, Any]:
    """The attributes of an object beside what its reader reads, without those that a `cached_property` computed.

    Raises:
        Hidden: When the object has data beside them.
    """
    kind, reader = type(value), reader_of(type(value))
    if reader is None and _has_hidden_data(kind):
        raise Hidden
    found = dict(_dictionary(value)) if reader is None or not reader.base.__dictoffset__ else {}
    for base in kind.__mro__[: kind.__mro__.index(reader.base) if reader else None]:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType) and name not in _OWN_AFFAIRS:
                try:
                    found[name] = member.__get__(value, kind)
                except AttributeError:  # not set
                    continue
    return {name: each for name, each in found.items() if name not in _OWN_AFFAIRS and not _is_computed(kind, name)}


def reduced(value: Any) -> Any:
    """What a class written in C says its object is made of.

    Raises:
        Hidden: When it does not say it, or would run Python code for it.
    """
    own = (inspect.getattr_static(type(value), name) for name in ("__reduce_ex__", "__reduce__"))
    if any(isinstance(each, FunctionType) for each in own):
        raise Hidden
    try:
        made = value.__reduce_ex__(2)
    except Exception as error:  # whatever the class raises, it cannot be read
        raise Hidden from error
    return made if isinstance(made, str) else (made[0], *(list(part or ()) for part in made[1:2]), *made[2:3])


def _dictionary(value: Any) -> dict[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _has_hidden_data(kind: type) -> bool:
    """Whether objects hold more bytes than their slots account for."""
    slots = sum(isinstance(each, MemberDescriptorType) for base in kind.__mro__ for each in vars(base).values())
    special = sum(bool(offset) and offset > 0 for offset in (kind.__dictoffset__, kind.__weakrefoffset__))
    return kind.__basicsize__ > object.__basicsize__ + _WORD * (slots + special) or bool(kind.__itemsize__)


def _is_computed(kind: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(kind, name, None), cached_property)


def _array(value: Any) -> Any:
    if value.dtype.hasobject:
        return str(value.dtype), value.shape, value.tolist()
    data = value if value.flags.c_contiguous else value.copy(order="C")
    return str(value.dtype), value.dtype.descr, value.shape, _digest(data.reshape(-1).view("u1"))


def _frame(value: Any) -> Any:
    """A table or column of pandas, by the hashes of its rows where all cells can be hashed."""
    import pandas

    kinds = [str(each) for each in value.dtypes] if hasattr(value, "columns") else [str(value.dtype)]
    names = list(value.columns) if hasattr(value, "columns") else [value.name]
    try:
        return names, kinds, _digest(pandas.util.hash_pandas_object(value).to_numpy())
    except TypeError:
        return names, kinds, value.index.tolist(), value.to_dict()


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


def _template(value: Any) -> Any:
    """Jinja keeps no source: the code that it compiled to holds every text of the template."""
    codes = [value.root_render_func.__code__, *(block.__code__ for _, block in sorted(value.blocks.items()))]
    environment = value.environment
    given = {name: each for name, each in value.globals.items() if environment.globals.get(name) is not each}
    return codes, given, environment


def _without(*names: str) -> Callable[[Any], Any]:
    """A reader of the attributes but for some."""
    return lambda value: {name: each for name, each in _dictionary(value).items() if name not in names}


def _environment(value: Any) -> Any:
    known = _without("cache", "extensions", "overlayed", "linked_to", "bytecode_cache")(value)
    return {**known, "extensions": sorted(value.extensions)}


def _set_on(value: Any) -> dict[str, Any]:
    """The attributes that a user set on a wrapper of `functools`, without those that it copied."""
    own = _dictionary(value).items()
    return {name: each for name, each in own if not name.startswith("__") and name != "cache_parameters"}


def _variable(value: Any) -> Any:
    """Name and default of a context variable."""
    try:
        return value.name, contextvars.Context().run(value.get)
    except LookupError:
        return (value.name,)


_READERS: dict[str, Callable[[Any], Any]] = {
    "builtins.dict": lambda value: dict(dict.items(value)),
    "collections.OrderedDict": lambda value: [list(dict.items(value)), _dictionary(value)],
    "collections.defaultdict": lambda value: [value.default_factory, dict(dict.items(value))],
    "builtins.list": lambda value: list(list.__iter__(value)),
    "builtins.tuple": lambda value: tuple(tuple.__iter__(value)),
    "builtins.set": lambda value: set(set.__iter__(value)),
    "builtins.frozenset": lambda value: frozenset(frozenset.__iter__(value)),
    "builtins.str": lambda value: str.__str__(value),
    "builtins.bytes": lambda value: bytes.__getitem__(value, slice(None)),
    "builtins.bytearray": lambda value: bytes(memoryview(value)),
    "builtins.int": lambda value: int.__int__(value),
    "builtins.float": lambda value: float.__float__(value),
    "builtins.complex": lambda value: complex.__repr__(value),
    "builtins.range": lambda value: [value.start, value.stop, value.step],
    "types.UnionType": lambda value: value.__args__,
    "typing.Union": lambda value: value.__args__,  # what `int | str` is from Python 3.14 on
    "typing._SpecialForm": lambda value: value._name,  # `Literal` and the like, which hold caches from Python 3.13 on
    "typing.TypeVar": lambda value: value.__name__,
    "typing.ParamSpec": lambda value: value.__name__,
    "numpy.ufunc": lambda value: value.__name__,
    "builtins.slice": lambda value: [value.start, value.stop, value.step],
    "builtins.mappingproxy": lambda value: dict(value),
    "builtins.memoryview": lambda value: [value.format, list(value.shape or ()), value.tobytes()],
    "array.array": lambda value: [value.typecode, value.tobytes()],
    "collections.deque": lambda value: [list(value), value.maxlen],
    "decimal.Decimal": lambda value: str(value),
    "datetime.datetime": lambda value: [value.replace(tzinfo=None).isoformat(), value.fold, value.tzinfo],
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": lambda value: [value.replace(tzinfo=None).isoformat(), value.fold, value.tzinfo],
    "datetime.timedelta": lambda value: [value.days, value.seconds, value.microseconds],
    "datetime.timezone": lambda value: [value.utcoffset(None), value.tzname(None)],
    "zoneinfo.ZoneInfo": lambda value: value.key,
    "uuid.UUID": lambda value: value.hex,
    "pathlib.PurePath": lambda value: value.as_posix(),
    "re.Pattern": lambda value: [value.pattern, value.flags],
    "numpy.ndarray": _array,
    "numpy.generic": lambda value: [str(value.dtype), value.item() if value.dtype.hasobject else value.tobytes()],
    "numpy.dtype": lambda value: [str(value), value.descr],
    "pandas.DataFrame": _frame,
    "pandas.core.frame.DataFrame": _frame,
    "pandas.Series": _frame,
    "pandas.core.series.Series": _frame,
    "pandas.Index": lambda value: value.tolist(),
    "pandas.core.indexes.base.Index": lambda value: value.tolist(),
    "_contextvars.ContextVar": _variable,
    "contextvars.ContextVar": _variable,
    "jinja2.environment.Template": _template,
    "jinja2.environment.Environment": _environment,
    "dspy.primitives.module.Module": _without("stage", "traces", "train", "history", "callbacks", "_compiled"),
    "dspy.clients.base_lm.BaseLM": _without("history", "callbacks", "_engine_store", "_engine_lock"),
    "configparser.RawConfigParser": lambda value: [value._defaults, value._sections],
    "functools.partialmethod": lambda value: [value.func, value.args, value.keywords],
    "functools.singledispatchmethod": lambda value: [value.func, value.dispatcher],
    "functools.cached_property": lambda value: value.func,
    "builtins.property": lambda value: [value.fget, value.fset, value.fdel],
    "builtins.staticmethod": lambda value: value.__func__,
    "builtins.classmethod": lambda value: value.__func__,
    "functools.partial": lambda value: [value.func, value.args, value.keywords, _set_on(value)],
    "functools._lru_cache_wrapper": lambda value: [value.__wrapped__, _set_on(value)],
    "builtins.BaseException": lambda value: [value.args, _dictionary(value)],
}
