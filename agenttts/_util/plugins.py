"""What others wrote and a search runs: a fault of it is one sentence that names it, and the line where it happened.

Faults of our own code are bugs and keep their traceback; the cause of each `ConfigError` here has it, too.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agenttts.errors import AgentTTSError, ConfigError

INSTALLED = ("site-packages", "dist-packages")
"""Names of the folders that packages are installed in."""
_OURS = Path(__file__).parents[1]
_LIBRARY = Path(traceback.__file__).parent


@contextmanager
def blamed(what: str, plug_in: object = None) -> Iterator[None]:
    """Whatever others' code raises is one sentence.

    Args:
        what: Names it, as in "environment 'rag'".
        plug_in: The object that runs, where it may be one of ours: what that raises is let through.

    Raises:
        ConfigError: Instead of what was raised, but for our own errors, which say enough.
    """
    try:
        yield
    except AgentTTSError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(f"{what}{_place(error)}: there is no module {error.name!r}") from error
    except SystemExit as error:
        raise ConfigError(f"{what}{_place(error)} ended the program with exit({error.code!r})") from error
    except Exception as error:
        if type(plug_in).__module__.partition(".")[0] == _OURS.name:
            raise
        said = f"{type(error).__name__}: {error}"
        if "no known parent package" in said:
            said += "; put an empty __init__.py into its folder, or import its neighbours without the dot"
        raise ConfigError(f"{what}{_place(error)} failed with {said}") from error


def _place(error: BaseException) -> str:
    """The last line of others' own code that an error came through."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not _is_foreign(each.filename)]
    return f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""


def _is_foreign(filename: str) -> bool:
    path = Path(filename)
    return filename.startswith("<") or path.is_relative_to(_OURS) or path.is_relative_to(_LIBRARY)


def lacks(value: object, kind: type) -> str:
    """What an object would have to inherit from, and what it lacks of it, in words."""
    missing = sorted(name for name in getattr(kind, "__abstractmethods__", ()) if not hasattr(value, name))
    lacking = f" and lacks {', '.join(missing)}" if missing else ""
    return f"does not inherit from {kind.__module__}.{kind.__name__}{lacking}"


def require_plug_in(plug_in: object, what: str, needed: Sequence[str], method: str, *arguments: str) -> None:
    """Make sure that a plug-in has what has no default, and that its method can be called.

    Args:
        plug_in: An object of a class that inherits from the right one.
        what: "environment" or "searcher".
        needed: Its attributes.
        method: The coroutine function that a search calls.
        arguments: Names of what it is called with; those after `*` by name.

    Raises:
        ConfigError: When it is not so: the message names the class and what is missing.
    """
    name = type(plug_in).__name__
    for each in needed:
        if not hasattr(plug_in, each):
            raise ConfigError(f"the {what} {name} has no {each}: set it in the class or in __init__")
    function = getattr(plug_in, method)
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"the {what} {name}: {method} must be a coroutine function, `async def {method}(...)`")
    split = arguments.index("*") if "*" in arguments else len(arguments)
    try:
        inspect.signature(function).bind(*arguments[:split], **dict.fromkeys(arguments[split + 1 :]))
    except TypeError as error:
        called = f"{method}({', '.join(arguments)})"
        raise ConfigError(f"the {what} {name} cannot be called as {called}: {error}") from error
