"""The sandbox: every way out that we know is tried, with each mechanism that the machine has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttts.environments.tasks.chatdev.sandbox import (
    ProgramLimits,
    ProgramOutcome,
    _run,
    execute,
    require_sandbox,
    run_program,
)
from agenttts.environments.tasks.chatdev.sandbox._wrap import mechanisms
from agenttts.errors import ConfigError

SECRET = "sk-not-for-programs"
QUICK = ProgramLimits(wall_s=8)


@pytest.fixture(params=["bwrap", "unshare"], autouse=True)
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each mechanism in turn, as if the other were not installed."""
    name: str = request.param
    if name not in mechanisms():
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(_run, "mechanisms", lambda: [name])
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    require_sandbox.cache_clear()
    yield name
    require_sandbox.cache_clear()


def run(program: str, *, limits: ProgramLimits = QUICK) -> ProgramOutcome:
    return run_program({"main.py": program}, limits=limits)


def test_a_program_runs_with_its_files_and_the_standard_library() -> None:
    program = """
import json, multiprocessing, game.rules
open('notes.txt', 'w').write('x')
multiprocessing.Lock()
print(json.dumps(game.rules.NAME), open('data/list.csv').read())
"""
    modules = {"game/__init__.py": "", "game/rules.py": "NAME = 'schön'", "data/list.csv": "1,2"}
    outcome = run_program({"main.py": program, **modules}, limits=QUICK)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, '"sch\\u00f6n" 1,2\n', "")


def test_a_program_runs_where_the_environment_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "environment"
    link.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(link / Path(sys.executable).relative_to(sys.prefix)))
    assert run("print(1)").stdout == "1\n"


def test_a_traceback_and_an_exit_code_come_back() -> None:
    outcome = run("import sys\nprint('so far')\nraise ValueError('no such thing')")
    assert outcome.exit_code == 1 and outcome.stdout == "so far\n"
    assert outcome.stderr.endswith("ValueError: no such thing\n") and "main.py" in outcome.stderr
    assert run("import sys; sys.exit(7)").exit_code == 7


def test_a_program_that_asks_goes_on_waiting() -> None:
    outcome = run("input('your name? ')", limits=ProgramLimits(wall_s=1))
    assert (outcome.stopped, outcome.stdout, outcome.stderr) == ("wall time", "your name? ", "")


def test_the_program_sees_no_file_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    places = ["/etc/passwd", "/etc/shadow", str(Path.home() / ".bashrc"), str(tmp_path / "secret"), __file__]
    outcome = run(f"import os\nprint([path for path in {places!r} if os.path.exists(path)])")
    assert outcome.stdout == "[]\n"


def test_the_home_holds_nothing_but_the_interpreter() -> None:
    home = str(Path.home())
    program = f"""
import os, sys
prefixes = {[os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)]!r}
seen = [os.path.join(at, name) for at, _, names in os.walk({home!r}) for name in names]
print([path for path in seen if not path.startswith(tuple(prefixes))])
"""
    assert run(program).stdout == "[]\n"


def test_keys_in_the_environment_are_not_passed_on() -> None:
    program = """
import glob, os
print(dict(os.environ))
for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):
    try:
        print(open(path).read())
    except OSError:
        pass
"""
    outcome = run(program)
    assert "HOME" in outcome.stdout and SECRET not in outcome.stdout


@pytest.mark.parametrize("place", ["/here", "/usr/here", "/etc/here", "/dev/here", "/proc/sys/kernel/core_pattern"])
def test_nothing_can_be_written_outside_the_folder(place: str) -> None:
    outcome = run(f"open({place!r}, 'w').write('x')")
    assert outcome.exit_code == 1 and "Error" in outcome.stderr and not Path("/here").exists()


def test_no_open_file_of_the_sandbox_can_be_written_to() -> None:
    program = """
import glob, os, stat
for path in glob.glob('/proc/[0-9]*/fd/*'):
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            print(path, os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b'x'))
    except OSError:
        pass
"""
    assert run(program).stdout == ""


def test_the_interpreter_cannot_be_changed() -> None:
    outcome = run("import os, json\nopen(json.__file__, 'a').write('#')")
    assert "Read-only file system" in outcome.stderr or "Permission denied" in outcome.stderr


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in (("127.0.0.1", port), ("8.8.8.8", 53)):
            outcome = run(f"import socket\nsocket.create_connection({address!r}, timeout=3)")
            assert "OSError" in outcome.stderr or "refused" in outcome.stderr or "unreachable" in outcome.stderr
    assert "Error" in run("import urllib.request\nurllib.request.urlopen('http://example.org', timeout=3)").stderr


def test_an_abstract_socket_of_the_host_is_out_of_reach() -> None:
    name = f"\0agenttts-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        outcome = run(f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})")
    assert "refused" in outcome.stderr


def test_a_fork_bomb_stops_at_the_number_of_processes() -> None:
    program = """
import os, time
count = 0
try:
    while os.fork():
        count += 1
    time.sleep(60)
except OSError:
    print(count, flush=True)
"""
    outcome = run(program, limits=ProgramLimits(wall_s=8, processes=20))
    assert 0 < int(outcome.stdout) < 20


def test_a_fork_bomb_of_forks_ends_with_the_sandbox() -> None:
    program = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
    assert run(program, limits=ProgramLimits(wall_s=2)).stopped in ("wall time", "memory")


def test_a_memory_bomb_fails_or_is_stopped() -> None:
    assert "MemoryError" in run("x = bytearray(10**10)").stderr
    shared = """
import os, threading, time
def fill():
    for _ in range(6):
        if not os.fork():
            x = bytearray(100 * 2**20)
            for i in range(0, len(x), 4096):
                x[i] = 1
            time.sleep(60)
    time.sleep(60)
threading.Thread(target=fill).start()
time.sleep(60)
"""
    assert run(shared, limits=ProgramLimits(wall_s=20, memory_bytes=300 * 2**20)).stopped == "memory"


def test_the_folder_has_a_size() -> None:
    outcome = run("for i in range(100):\n    open(f'f{i}', 'wb').write(bytes(2**20))")
    assert "No space left" in outcome.stderr
    assert run("open('f', 'wb').write(bytes(2**26))").exit_code != 0


def test_endless_output_is_cut() -> None:
    outcome = run("while True:\n    print('x' * 1000)", limits=ProgramLimits(wall_s=30, output_bytes=5000))
    assert outcome.stopped == "output" and len(outcome.stdout) == 5000


def test_an_endless_loop_is_stopped() -> None:
    assert run("print('on', flush=True)\nwhile True: pass", limits=ProgramLimits(wall_s=1)).stopped == "wall time"
    burnt = run("while True: pass", limits=ProgramLimits(wall_s=30, cpu_s=1))
    assert burnt.exit_code == 128 + 9 and not burnt.stopped


def test_a_program_that_closes_its_output_is_stopped_too() -> None:
    outcome = run("import os, time\nos.closerange(0, 99)\ntime.sleep(60)", limits=ProgramLimits(wall_s=1))
    assert outcome.stopped == "wall time"


def test_killing_every_process_in_sight_ends_the_sandbox_alone() -> None:
    program = """
import os, signal
for pid in (1, os.getppid(), -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        print(error)
"""
    assert run(program).exit_code in (0, 128 + 9)
    assert run("print(1)").stdout == "1\n"


def test_background_processes_end_with_the_program() -> None:
    marker = f"agenttts-left-behind-{time.monotonic_ns()}"
    program = f"""
import subprocess, sys
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}], start_new_session=True,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
    assert run(program).exit_code == 0
    assert marker not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_background_process_that_holds_the_output_open_ends_too() -> None:
    program = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    assert run(program, limits=ProgramLimits(wall_s=30)).stopped == ""


def test_symbolic_links_lead_nowhere() -> None:
    outcome = run("import os\nos.symlink('/etc/passwd', 'link')\nprint(os.listdir('.'), open('link').read())")
    assert "FileNotFoundError" in outcome.stderr


def test_no_privilege_can_be_gained() -> None:
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print([libc.unshare(0x10000000), libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None), libc.chroot(b'/')])
print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm', 'NoNewPrivs'))])
"""
    assert run(program).stdout == "[-1, -1, -1]\n['0000000000000000', '0000000000000000', '1']\n"


@pytest.mark.parametrize("name", ["../outside.py", "/etc/cron.d/x", "a/../../b", "", ".", "a\0b"])
def test_a_file_outside_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="not a relative path inside its folder"):
        run_program({"main.py": "", name: "x"})


def test_nothing_is_left_on_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("open('left', 'w').write('x')\nopen('/tmp/left', 'w').write('x')")
    assert list(tmp_path.iterdir()) == []


async def test_execute_runs_aside() -> None:
    assert (await execute({"main.py": "print(2)"})).stdout == "2\n"


def test_without_a_mechanism_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sandbox.cache_clear()
    monkeypatch.setattr(_run, "mechanisms", lambda: [])
    with pytest.raises(ConfigError, match="install bubblewrap.*neither bwrap nor unshare was found"):
        run("print(1)")


def test_a_mechanism_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sandbox.cache_clear()
    monkeypatch.setattr(_run, "mechanisms", lambda: ["unshare"])
    monkeypatch.setattr(_run, "wrapped", lambda *_: ["sh", "-c", "echo operation not permitted >&2; exit 1"])
    with pytest.raises(ConfigError, match="unshare: operation not permitted"):
        run("print(1)")
