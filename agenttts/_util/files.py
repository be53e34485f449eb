"""Files that are written whole or not at all, and read only when they are what a file should be.

A file is written beside its place and moved there when every byte is on the disk: a reader finds the old one or
the new one, whatever interrupts the writing. Symbolic links are followed, so that the file they lead to is
replaced. What is no regular file (`/dev/stdout`, a pipe) cannot be moved over and is written as it is.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agenttts.errors import ConfigError

MOST_BYTES = 8 * 2**20
"""Of a file of settings that is read."""


def working_folder() -> Path | None:
    """The working folder; None where it has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes the file when all went well, and is gone when not.

    Raises:
        ConfigError: When the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        target = path.resolve()
        draft = target.with_name(f".{secrets.token_hex(8)}.{target.name[-64:]}")
        try:
            yield draft
            _settle(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file, in UTF-8.

    Raises:
        ConfigError: When it cannot be written.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def _settle(draft: Path, target: Path) -> None:
    """Move a draft to its place once it is on the disk, with the rights of what it replaces."""
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        if target.exists():
            os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(draft, target)


def read_bounded(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """What is in a regular file that is not too large.

    Raises:
        ConfigError: When it is no regular file, or larger.
        OSError: When it cannot be read.
    """
    with _regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{str(path)!r} is larger than {most // 2**20} MiB: give a smaller file")
    return content


def read_regular(path: Path) -> bytes:
    """What is in a regular file, whatever its size.

    Raises:
        ConfigError: When it is no regular file.
        OSError: When it cannot be read.
    """
    with _regular(path) as file:
        return file.read()


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """A regular file, to be read: a pipe or a device may never end."""
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigError(f"{str(path)!r} is not a regular file: give the path of one")
        yield file


def _open_without_waiting(path: str, flags: int) -> int:
    """As opening does, but a pipe's writer is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
