"""Everything agenttts raises on purpose.

    AgentTTSError
    ├── ConfigError        the user can fix it; the command line prints the sentence and exits with 2
    │   └── BudgetTooSmall no allocation costs as little as the budget
    ├── EndpointError      a model server rejected a request, failed or could not be reached (exit 3)
    │   └── ModelRefused   a model refused every example: a failed trial, and the model is ruled out
    ├── ParseError         a sample held nothing usable: a counted non-vote, never a crash
    │   └── NoUsableSample no sample of a subtask could be used: its default takes their place, if it has one
    ├── CommandFailed      a pipeline's command crashed, was too slow or gave no answer: a failed example
    ├── LimitReached       the search's own spending limit stopped a request (exit 0: what was paid for is kept)
    └── StoreError         the store is not ours, is newer than this version, or failed (exit 4)

A failed example is data, not an exception: it is scored 0 and counted (see `evaluation.ExampleResult`).
"""


class AgentTTSError(Exception):
    """Base class of every error that agenttts raises on purpose."""

    exit_code: int = 1
    """With which a command ends."""


class ConfigError(AgentTTSError):
    """The input is wrong: the message names the thing, its value and how to fix it."""

    exit_code = 2


class BudgetTooSmall(ConfigError):
    """The cheapest allocation costs more than the budget."""


_OF_THE_REQUEST = (400, 413, 414, 422)
"""Statuses by which a server says that it understood a request and declines it; every other one is its own fault."""


class EndpointError(AgentTTSError):
    """A model server rejected a request, failed or could not be reached.

    Args:
        message: One sentence that names the model, the endpoint and the reason.
        status: The HTTP status; None when no answer came.
        unreachable: Whether not even a connection could be made: the server is gone.
        cut: Whether the connection was lost before the answer was there.
        timed_out: Whether the answer was waited for in vain.
        lasting: Whether the endpoint has been silent for so long that it was given up.
        retry_after_s: After how many seconds the server asks to be tried again.
        refused: The field of the request that the server does not take; empty where it says nothing of one.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        unreachable: bool = False,
        cut: bool = False,
        timed_out: bool = False,
        lasting: bool = False,
        retry_after_s: float | None = None,
        refused: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.unreachable = unreachable
        self.cut = cut
        self.timed_out = timed_out
        self.lasting = lasting
        self.retry_after_s = retry_after_s
        self.refused = refused

    @property
    def unavailable(self) -> bool:
        """Whether the server is at fault (down, overloaded, no access, no completion) rather than this request."""
        return self.status not in _OF_THE_REQUEST

    @property
    def final(self) -> bool:
        """Whether the server is gone or given up: there is no use in asking it anything else."""
        return self.unreachable or self.lasting


class ModelRefused(EndpointError):
    """A stage's model refused every example: it is not there, or takes no request of this kind.

    Args:
        message: One sentence that names the model, the endpoint and the reason.
        subtask: The stage.
        status: The HTTP status.
    """

    def __init__(self, message: str, *, subtask: str, status: int | None) -> None:
        super().__init__(message, status=status)
        self.subtask = subtask


class CommandFailed(AgentTTSError):
    """A pipeline's command crashed, was too slow, gave no answer or asked what no step does: a failed example."""


class LimitReached(AgentTTSError):
    """Another request would pass a limit that the user set on the search's spend."""

    exit_code = 0


class StoreError(AgentTTSError):
    """The store cannot be used as it is."""

    exit_code = 4


class ParseError(AgentTTSError):
    """A sample held nothing usable: a counted non-vote, never a crash."""


class NoUsableSample(ParseError):
    """No sample of a subtask could be used: its default takes their place, if it has one."""
