"""For tests of pipelines and plug-ins: a scripted client, and the suites that every plug-in must pass."""

from agenttts.testing.client import ScriptedClient

__all__ = [
    "ScriptedClient",
]
