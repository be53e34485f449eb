"""What a function of the user's may not end: the program, by `sys.exit`, or the search, by what is no `Exception`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def contained(failure: type[Exception] = RuntimeError) -> Iterator[None]:
    """Let what runs inside end neither the program nor the search.

    That is sys.exit, a cancellation that nobody asked for, and what else is raised that is no `Exception`, as by
    func_timeout or pytest. An interrupt is the user's own.

    Raises:
        RuntimeError: Instead, or whichever error is given.
    """
    entered = _task()
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except GeneratorExit as error:
        if entered is None or _task() is not entered:  # so is a coroutine closed, after its task
            raise
        raise failure("it raised GeneratorExit, which is no Exception") from error
    except SystemExit as error:
        raise failure(f"it ended the program with exit({error.code!r})") from error
    except asyncio.CancelledError as error:
        if entered is None or entered.cancelling():
            raise
        raise failure("it was cancelled from within") from error
    except BaseException as error:
        raise failure(f"it raised {type(error).__name__}, which is no Exception") from error


def _task() -> asyncio.Task[object] | None:
    """The one that runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no event loop
        return None
