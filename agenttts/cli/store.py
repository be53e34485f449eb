"""The store that commands read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.cli.options import DEFAULT_STORE
from agenttts.errors import ConfigError

if TYPE_CHECKING:
    from agenttts.db import Store


def open_store(store: str | None) -> Store:
    """A store that exists: reading commands must not create one.

    Args:
        store: Path or URL; None for the default one or, where that is missing, the one that was last written here.

    Raises:
        ConfigError: When there is none.
        StoreError: When the text can be no store's.
    """
    from agenttts.db import Store, location

    store = _default_store() if store is None else store
    # What is mistyped may hold a password, and is not quoted.
    if location(store) == store and "://" not in store and not os.path.isfile(os.path.expanduser(store)):
        from agenttts._util.hints import program

        example = f"`{program()} search minihop-recorded --llm none` needs no model"
        raise ConfigError(f"there is no store {store!r}: run a search first ({example}), or give another --store")
    return Store(store)


def _default_store() -> str:
    """The default store; where it is missing, the newest of the folder, which is told."""
    from agenttts.cli.console import write_line
    from agenttts.db import stores_in

    if os.path.isfile(DEFAULT_STORE) or not (found := stores_in(Path())):
        return DEFAULT_STORE
    write_line(f"reading {found[0]}, as there is no {DEFAULT_STORE} (--store names another)", stderr=True)
    return str(found[0])
