"""A connection that does not come about: one sentence says what it is (TLS, proxy, protocol), and what helps."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agenttts.errors import AgentTTSError
from agenttts.llm.openai import OpenAIClient
from agenttts.pipeline import Model, Sampling
from tests.llm.providers import SHAPES, Provider

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
PROXY = "the proxy of HTTP_PROXY or HTTPS_PROXY does not let it through: correct it, or name the host in NO_PROXY"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def said(url: str) -> str:
    """What a model answers there, or why it does not."""
    client = OpenAIClient(timeout_s=5, max_retries=0)
    prompt = [{"role": "user", "content": "repeat paris"}]
    try:
        found = await client.complete(Model("m", base_url=url), prompt, Sampling(), start=0, samples=1, seed=0)
        return found.samples[0].text
    except AgentTTSError as error:
        return str(error)
    finally:
        await client.close()


@contextmanager
def certificate(folder: Path, host: str = "IP:127.0.0.1", days: int = 2) -> Iterator[tuple[str, str]]:
    """The URL of a server with a self-signed certificate of its own, and that certificate's file."""
    key, request, signed, names = (folder / name for name in ("key.pem", "request.pem", "signed.pem", "names"))
    names.write_text(f"subjectAltName={host}")
    for command in (
        f"req -newkey rsa:2048 -nodes -subj /CN=models -keyout {key} -out {request}",
        f"x509 -req -in {request} -signkey {key} -days {days} -extfile {names} -out {signed}",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    if not days:
        time.sleep(1.1)  # its last second is its first
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed, key)
    with Provider(SHAPES["llama.cpp"], tls=context) as provider:
        yield provider.url, str(signed)


@needs_openssl
async def test_a_certificate_that_is_not_trusted_is_named_and_may_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with certificate(tmp_path) as (url, signed):
        for address in (url, url.replace("https://", "https://user:password@")):
            assert "its TLS certificate is not trusted: name a file with the one that" in await said(address)
        monkeypatch.setenv("SSL_CERT_FILE", signed)
        assert await said(url) == "paris"
        assert "ask it with https:// where it speaks TLS" in await said(url.replace("https:", "http:"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        assert f"cannot be asked with SSL_CERT_FILE={tmp_path}/none.pem: " in await said(url)


@needs_openssl
@pytest.mark.parametrize(
    ("host", "days", "reason"),
    [
        ("DNS:elsewhere.example", 2, "its TLS certificate is of another server than '127.0.0.1'"),
        ("IP:127.0.0.1", 0, "its TLS certificate has expired, or is not valid yet"),
    ],
)
async def test_a_trusted_certificate_may_be_of_another_time_or_server(
    host: str, days: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with certificate(tmp_path, host, days) as (url, signed):
        monkeypatch.setenv("SSL_CERT_FILE", signed)
        assert reason in await said(url)


@contextmanager
def proxy(status: int) -> Iterator[str]:
    """A proxy that answers everything with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_CONNECT

        def log_message(self, format: str, *args: object) -> None:
            """Tests need no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("variable", "address", "url", "reason"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:9", "http://models.example/v1", PROXY),
        ("HTTPS_PROXY", "http://127.0.0.1:9", "https://models.example/v1", PROXY),
        ("https_proxy", "http://127.0.0.1:9", "https://user:password@models.example/v1", PROXY),
        ("ALL_PROXY", "http://no-such-proxy.invalid:3128", "https://models.example/v1", PROXY),
        ("HTTPS_PROXY", "{407}", "https://models.example/v1", PROXY),
        ("HTTP_PROXY", "{407}", "http://models.example/v1", "wants a user and a password: http://USER:PASSWORD@HOST"),
        ("HTTPS_PROXY", "{403}", "https://models.example/v1", PROXY),
    ],
)
async def test_a_proxy_that_does_not_let_it_through_is_named(
    variable: str, address: str, url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(407) as wants_a_user, proxy(403) as refuses:
        monkeypatch.setenv(variable, address.replace("{407}", wants_a_user).replace("{403}", refuses))
        assert reason in await said(url)


@contextmanager
def listener(greeting: bytes) -> Iterator[int]:
    """A port where something else listens: it says this, and hangs up."""

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("greeting", "url", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "http://127.0.0.1:{port}/v1", "what listens there does not speak HTTP"),
        (b"", "http://127.0.0.1:{port}/v1", "it broke the connection off before it answered"),
        (b"", "https://127.0.0.1:{port}/v1", "ask it with http://, or start its server anew"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "https://127.0.0.1:{port}/v1", "it does not speak TLS"),
    ],
)
async def test_what_is_no_endpoint_is_named(greeting: bytes, url: str, reason: str) -> None:
    with listener(greeting) as port:
        assert reason in await said(url.format(port=port))
