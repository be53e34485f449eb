"""Pipelines that are a command in any language (`pipeline.Command`): its processes, and the addresses of their steps.

A process has a server of its own on loopback, with a port and a secret of its own in each address, and is given one
example at a time: no other process, and no other example, can be taken for it. Its requests go where those of a
function's handles go, through the allocation and the sample pool, in the event loop that runs the example.

Whatever is the program's fault is a failed example with its reason: an exit status or a signal, too slow, nothing or no
JSON or too much on standard output, a request that no step answers. A model that does not answer is not: the example is
then missing, whatever the program made of it. The time that it waits for models is not its own.

Nothing is left running: a process runs under a keeper (`_util.keeping`), and ends with all that it has started when its
example does, or the environment is left, or the event loop or this process ends, however that is.
"""

from agenttts.execution.commands.processes import end_processes, run_command

__all__ = ["end_processes", "run_command"]
