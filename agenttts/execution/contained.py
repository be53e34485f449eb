"""What a function of the user's may not end: the program, by `sys.exit`, or the search, by a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def contained(failure: type[Exception] = RuntimeError) -> Iterator[None]:
    """Let what runs inside end neither the program nor the search: sys.exit, or a cancellation that nobody asked for.

    Raises:
        RuntimeError: Instead, or whichever error is given.
    """
    try:
        yield
    except SystemExit as error:
        raise failure(f"it ended the program with exit({error.code!r})") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise failure("it was cancelled from within") from error
