"""The store that commands read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agenttts.errors import ConfigError

if TYPE_CHECKING:
    from agenttts.db import Store


def open_store(store: str) -> Store:
    """A store that exists: reading commands must not create one.

    Raises:
        ConfigError: When there is none.
        StoreError: When the text can be no store's.
    """
    from agenttts.db import Store, location

    # What is mistyped may hold a password, and is not quoted.
    if location(store) == store and "://" not in store and not os.path.isfile(os.path.expanduser(store)):
        raise ConfigError(f"there is no store {store!r}: run `agenttts search` first, or give another --store")
    return Store(store)
