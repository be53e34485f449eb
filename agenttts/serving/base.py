"""The one interface of everything that serves models."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Serving(Protocol):
    """Servers that live exactly as long as the environment that uses them."""

    @property
    def takes_turns(self) -> bool:
        """Whether not all servers can answer at the same time."""
        ...

    async def start(self) -> Mapping[str, str]:
        """Start them, wait until they answer, and return served model name -> base URL.

        Raises:
            ConfigError: When they cannot run on this machine.
            EndpointError: When one does not come up.
        """
        ...

    async def stop(self) -> None:
        """Stop them; nothing is left running."""
        ...

    def turn(self, served_name: str) -> AbstractAsyncContextManager[None]:
        """Held while a model is asked; entered when its server can answer.

        Raises:
            EndpointError: When it never will.
        """
        ...

    def gpus(self, served_name: str) -> int:
        """How many GPUs a model's server is spread over; 1 on a CPU, or where it is served by others."""
        ...
