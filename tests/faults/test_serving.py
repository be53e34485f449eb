"""`serve-pipeline`: who may ask, what may be sent; and an allocation file, which is data and not a program."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

import agenttts as at
from agenttts._util.web import WebServer
from agenttts._util.yaml_file import written
from agenttts.deployment.answering import DeployedPipeline
from agenttts.deployment.application import application
from agenttts.space import SearchSpace
from agenttts.space.allocation import Allocation
from agenttts.space.cost import FlopsCost
from agenttts.testing import ScriptedClient
from tests.faults.commands import run

TOKEN = "a-token-of-the-test"
GOOD: dict[str, Any] = {"model": "p", "messages": [{"role": "user", "content": '{"question": "q"}'}]}
ROUTES = [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/nothing"), ("POST", "/v1/models")]


def deployed() -> DeployedPipeline:
    stage = at.Subtask("s", (at.Model("m", 1e6),), "{{ question }}", prompt_tokens=5, completion_tokens=2)
    space = SearchSpace(at.Pipeline("p", (stage,), at.metrics.exact_match("gold")), FlopsCost(), 400)
    echo = ScriptedClient(lambda model, messages, position: messages[-1]["content"])
    return DeployedPipeline(Allocation({"s": ("m", 1)}), space, client=echo)


@pytest.fixture(scope="module")
def open_server() -> Iterator[WebServer]:
    pipeline = deployed()
    with WebServer(application(pipeline), within=pipeline) as server:
        yield server


@pytest.fixture(scope="module")
def locked() -> Iterator[WebServer]:
    """On all addresses, with a token."""
    pipeline = deployed()
    with WebServer(application(pipeline), within=pipeline, host="0.0.0.0", token=TOKEN) as server:
        yield server


def port(server: WebServer) -> int:
    return int(server.url.rpartition(":")[2].removesuffix("/v1"))


def send(server: WebServer, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and body of one raw request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"Host": f"127.0.0.1:{port(server)}", "Content-Type": "application/json"} | named
    named = {name: value for name, value in named.items() if value}
    with closing(http.client.HTTPConnection("127.0.0.1", port(server), timeout=20)) as connection:
        return exchange(connection, method, path, body, named)


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, named: dict[str, str]
) -> tuple[int, str]:
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in named.items():
        connection.putheader(name, value)
    if body is not None and "Transfer-Encoding" not in named:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body is not None and "Transfer-Encoding" in named:
        chunks = [body[i : i + 65536] for i in range(0, len(body), 65536)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    if body is not None:
        connection.send(body)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def post(server: WebServer, body: bytes, **headers: str) -> tuple[int, str]:
    return send(server, "POST", "/v1/chat/completions", body, **headers)


def test_an_ordinary_request_is_answered(open_server: WebServer) -> None:
    assert post(open_server, json.dumps(GOOD).encode())[0] == 200
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:99", "localhost."):
        assert post(open_server, json.dumps(GOOD).encode(), Host=host, Origin="http://localhost:3000")[0] == 200


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1",
    "user@127.0.0.1",
    "127.0.0.1@evil.example", "[::2]", "localhost:80:80", "0x7f000001.evil", "127.0.0.1/evil", "evil.localhost",
])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_foreign_host_is_refused_on_every_route(open_server: WebServer, method: str, path: str, host: str) -> None:
    body = json.dumps(GOOD).encode() if method == "POST" else None
    assert send(open_server, method, path, body, Host=host)[0] == 403


@pytest.mark.parametrize("origin", [
    "http://evil.example", "https://evil.example:8080", "null", "http://127.0.0.1.evil.example",
    "chrome-extension://x", "file://",
    "http://localhost@evil.example", "evil", "http://[", "http://10.0.0.1", "//localhost", "data:x",
])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("OPTIONS", "/v1/chat/completions")])
def test_a_foreign_origin_is_refused_on_every_route(
    open_server: WebServer, method: str, path: str, origin: str
) -> None:
    body = json.dumps(GOOD).encode() if method == "POST" else None
    assert send(open_server, method, path, body, Origin=origin)[0] == 403


@pytest.mark.parametrize("authorization", [
    "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
    "Bearer é",
])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_token_nothing_is_answered(locked: WebServer, method: str, path: str, authorization: str) -> None:
    body = json.dumps(GOOD).encode() if method == "POST" else None
    status, text = send(locked, method, path, body, Authorization=authorization)
    assert status == 401 and TOKEN not in text


def test_with_the_token_the_machines_addresses_and_names_are_answered(locked: WebServer) -> None:
    for host in ("127.0.0.1", "10.1.2.3:80", socket.gethostname(), "localhost"):
        assert send(locked, "GET", "/v1/models", Host=host, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert send(locked, "GET", "/v1/models", Host="evil.example", Authorization=f"Bearer {TOKEN}")[0] == 403
    assert send(locked, "GET", "/v1/models", Origin="http://evil.example", Authorization=f"Bearer {TOKEN}")[0] == 403


@pytest.mark.parametrize("size", [2**20 + 1, 3 * 2**20])
@pytest.mark.parametrize("how", ["", "chunked"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/nothing"])
def test_a_large_body_is_refused(open_server: WebServer, size: int, how: str, path: str) -> None:
    assert send(open_server, "POST", path, b"x" * size, **{"Transfer-Encoding": how})[0] == 413


def test_a_body_of_the_largest_size_is_read(open_server: WebServer) -> None:
    body = json.dumps(GOOD).encode()
    for how in ("", "chunked"):
        assert post(open_server, body + b" " * (2**20 - len(body)), **{"Transfer-Encoding": how})[0] == 200


@pytest.mark.parametrize("kind", [
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json",
    "application/jsonx",
    "text/plain; application/json", "application/json, text/plain",
])  # fmt: skip
def test_another_content_type_is_refused(open_server: WebServer, kind: str) -> None:
    assert post(open_server, json.dumps(GOOD).encode(), Content_Type=kind)[0] == 415


def test_json_with_a_charset_is_read_and_packed_json_is_not(open_server: WebServer) -> None:
    body = json.dumps(GOOD).encode()
    assert post(open_server, body, Content_Type="Application/JSON; charset=utf-8")[0] == 200
    assert post(open_server, body, Content_Encoding="gzip")[0] == 415


def user(text: str) -> bytes:
    return json.dumps(GOOD | {"messages": [{"role": "user", "content": text}]}).encode()


@pytest.mark.parametrize("body", [
    b"", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500, b"\xff\xfe", "é".encode("utf-16"),
    b'{"model": "p", "x": NaN}', b'{"model": "p", "x": Infinity}', b'{"x": -Infinity}', b'{"x": 1e999}',
    b'{"x": ' + b"9" * 9000 + b"}",
    b"null", b"7", b'"x"', b"[]", b"{}", b'{"model": 7, "messages": 7}', b'{"model": "p", "messages": [[]]}', b"\0",
    b"\xef\xbb\xbf{}", b'{"model": "p", "messages": [{"role": "user", "content": {"a": 1}}]}',
    json.dumps(GOOD).encode()[:-1] + b', "deep": ' + b"[" * 900 + b"]" * 900 + b"}",
    json.dumps(GOOD).encode()[:-1] + b', "n": 1e400}', json.dumps(GOOD | {"n": "x"}).encode(),
    json.dumps(GOOD | {"n": 10**30}).encode(),
    user('{"question": ' + "[" * 5000 + "]" * 5000 + "}"), user('{"question": ' + "[" * 900 + "]" * 900 + "}"),
    user('{"question": NaN}'),
    user('{"question": ' + "9" * 9000 + "}"), user('{"question": 1e999}'), user("{}"),
])  # fmt: skip
def test_what_is_no_request_is_a_400(open_server: WebServer, body: bytes) -> None:
    status, text = post(open_server, body)
    assert status == 400 and len(text) < 1000 and "Traceback" not in text
    assert json.loads(text)["error"]["message"]


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\x1b[2J", "{not json", "[1, 2]", "7",
'{"question": "\\ud800\\u0000"}',
                                  "[" * 5000])  # fmt: skip
def test_odd_texts_are_answered(open_server: WebServer, text: str) -> None:
    status, answer = post(open_server, user(text))
    assert status == 200 and json.loads(answer)["choices"][0]["message"]["content"]


def test_an_unknown_model_is_named_without_harm(open_server: WebServer) -> None:
    status, text = post(open_server, json.dumps(GOOD | {"model": "\ud800" + "x" * 100_000}).encode())
    assert status == 404 and len(text) < 2000


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_beyond_loopback_a_token_is_needed(host: str) -> None:
    with pytest.raises(at.ConfigError, match="--token-env"):
        WebServer(application(deployed()), host=host)


# The allocation file

MINE = """
import pathlib
import agenttts as at
(pathlib.Path({mark!r}) / "imported").write_text("x")
stage = at.Subtask("s", (at.Model("m", 1e6, base_url="http://127.0.0.1:1/v1"),), "{{{{ question }}}}",
                   prompt_tokens=5, completion_tokens=2, max_samples=4)
environment = at.LiveEnvironment(at.Pipeline("p", (stage,), at.metrics.exact_match("gold")),
                                 [{{"id": "1", "question": "q", "gold": "g"}}])
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment, `mine.py`, beside it the user's, `work`, and another's, `other`."""
    for name in ("own", "work", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(MINE.format(mark=str(tmp_path)))
    (tmp_path / "own" / "sub").mkdir()
    (tmp_path / "own" / "sub" / "mine.py").write_text(MINE.format(mark=str(tmp_path)))
    (tmp_path / "own" / "link.py").symlink_to(tmp_path / "other" / "mine.py")
    (tmp_path / "own" / "away").symlink_to(tmp_path / "other")
    (tmp_path / "own" / "mine.txt").write_text("x")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def allocation(folders: Path, environment: str, **changes: Any) -> Path:
    stage = at.Subtask("s", (at.Model("m", 1e6, base_url="http://127.0.0.1:1/v1"),), "{{ question }}",
                       prompt_tokens=5, completion_tokens=2, max_samples=4)  # fmt: skip
    pipeline = at.Pipeline("p", (stage,), at.metrics.exact_match("gold"))
    content = {
        "pipeline": "p", "environment": environment, "fingerprints": dict(pipeline.fingerprints),
        "allocation": {"s": {"model": "m", "samples": 1}}, "cost": {"budget": 1e6, "cost_model": "flops"},
        "endpoints": {"m": "http://127.0.0.1:1/v1"},
    } | changes  # fmt: skip
    path = folders / "own" / "allocation.yaml"
    path.write_text(written(content))
    return path


@pytest.mark.parametrize("environment", ["mine.py:environment", "./mine.py:environment", "sub/mine.py:environment"])
def test_an_environment_in_the_files_own_folder_is_imported(folders: Path, environment: str) -> None:
    assert at.deployed(allocation(folders, environment)).pipeline.name == "p"
    assert (folders / "imported").exists()


@pytest.mark.parametrize("environment", [
    "../other/mine.py:environment", "sub/../mine.py:environment", "link.py:environment", "away/mine.py:environment",
    "os:system",
    "mine:environment", "antigravity:x", "{other}/mine.py:environment", "mine.txt:x", "/dev/null:x", "..:x", ".:x",
    "", ":", "x" * 5000,
    "~/mine.py:environment", "../own/mine.py:environment", "mine.py", "none.py:environment", "http://evil.example/mine.py:environment",
])  # fmt: skip
def test_any_other_environment_takes_trust(folders: Path, monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    path = allocation(folders, environment.replace("{other}", str(folders / "other")))
    with pytest.raises(at.ConfigError, match="--trust|no environment"):
        at.deployed(path)
    ended = run(f"serve-pipeline {path} --port 0", monkeypatch)
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert not (folders / "imported").exists()


def test_trust_imports_what_the_file_names(folders: Path) -> None:
    path = allocation(folders, f"{folders / 'other'}/mine.py:environment")
    assert at.deployed(path, trust=True).pipeline.name == "p" and (folders / "imported").exists()


TAKES_DATA = """

def of(data=None):
    (pathlib.Path({mark!r}) / "read").write_text(str(data))
    return environment
"""


@pytest.fixture
def with_data(folders: Path) -> Path:
    """An environment that takes data, and files of data in its folder and elsewhere."""
    for name in ("own", "work", "other"):
        (folders / name / "rows.jsonl").write_text("{}")
    (folders / "own" / "sub" / "rows.jsonl").write_text("{}")
    (folders / "own" / "leads-out.jsonl").symlink_to(folders / "other" / "rows.jsonl")
    (folders / "own" / "mine.py").write_text((MINE + TAKES_DATA).format(mark=str(folders)))
    return folders


@pytest.mark.parametrize("data", ["rows.jsonl", "./rows.jsonl", "sub/rows.jsonl"])
def test_data_in_the_files_own_folder_are_read(with_data: Path, data: str) -> None:
    at.deployed(allocation(with_data, "mine.py:of", data=data))
    assert (with_data / "read").read_text() == str(with_data / "own" / data)


@pytest.mark.parametrize("data", [
    "{other}/rows.jsonl", "../other/rows.jsonl", "sub/../rows.jsonl", "leads-out.jsonl", "away/rows.jsonl",
    "none.jsonl", "owner/name", "owner/name:c:test", "/etc/passwd", "/dev/zero", "~/rows.jsonl", "sub", ".",
    "x" * 5000, "https://evil.example/rows.jsonl", "s3://bucket/rows",
])  # fmt: skip
def test_any_other_data_take_trust_or_are_given(with_data: Path, monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    data = data.replace("{other}", str(with_data / "other"))
    path = allocation(with_data, "mine.py:of", data=data)
    with pytest.raises(at.ConfigError, match="names the data .*--data.*--trust"):
        at.deployed(path)
    ended = run(f"serve-pipeline {path} --port 0", monkeypatch)
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert not (with_data / "read").exists()
    at.deployed(path, trust=True)
    assert (with_data / "read").read_text() == data
    at.deployed(path, data="rows.jsonl")
    assert (with_data / "read").read_text() == "rows.jsonl"


@pytest.mark.parametrize(
    "url", ["http://evil.example/v1", "http://127.0.0.1:2/v1", "http://127.0.0.1:1/v1/", "***", ""]
)
def test_an_endpoint_of_the_file_is_asked_only_when_it_is_confirmed(
    folders: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    path = allocation(folders, "mine.py:environment", endpoints={"m": url})
    with pytest.raises(at.ConfigError, match="asks the model 'm' at .* --endpoint m=URL"):
        at.deployed(path)
    assert run(f"serve-pipeline {path} --port 0", monkeypatch).code == 2
    given = at.deployed(path, endpoints={"m": "http://127.0.0.1:9/v1"})
    assert given.client.url(given.pipeline.models[0]) == "http://127.0.0.1:9/v1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("fingerprints", [{}, {"subtask 't'": "x"}, None])
def test_a_file_without_every_fingerprint_is_refused(folders: Path, fingerprints: Any) -> None:
    path = allocation(folders, "mine.py:environment", fingerprints=fingerprints)
    with pytest.raises(at.ConfigError, match="fingerprint"):
        at.deployed(path)
    with pytest.raises(at.ConfigError, match="fingerprint"):
        at.deployed(path, trust=True)


@pytest.mark.parametrize("value", ["", " ", "two\nlines", " padded", "é"])
def test_a_token_that_is_none_is_refused_and_not_shown(
    folders: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PIPELINE_TOKEN", value)
    path = allocation(folders, "mine.py:environment")
    for name in ("PIPELINE_TOKEN", "sk-given-as-the-name"):
        ended = run(f"serve-pipeline {path} --port 0 --token-env {name}", monkeypatch)
        assert ended.code == 2 and "--token-env takes the name" in ended.err and "sk-given" not in ended.err
    ended = run(f"serve-pipeline {path} --port 0 --host 0.0.0.0", monkeypatch)
    assert ended.code == 2 and "lets other machines in" in ended.err


def test_the_official_way_still_works(open_server: WebServer) -> None:
    assert httpx.get(f"{open_server.url}/models").json()["data"][0]["id"] == "p"
