"""What went wrong with a connection, in words: a name, a proxy, a certificate, a port where nothing listens."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from agenttts.errors import EndpointError

_OF_A_CONNECTION = {"RequestError", "InvalidURL", "OSError", "ClientError"}
"""httpx and its successor httpx2, whichever the official client brings, name their errors alike; so does aiohttp,
whose error is the cause, and says more: the transport calls a connection that was cut a ConnectTimeout."""


@contextmanager
def in_words(where: str, url: str) -> Iterator[None]:
    """Whatever the connection does wrong becomes one sentence that names the model, the endpoint and the reason."""
    try:
        yield
    except EndpointError:
        raise
    except Exception as error:
        causes = list(_causes(error))
        names = {each.__name__ for one in causes for each in type(one).__mro__}
        if not names & _OF_A_CONNECTION:
            raise
        cut = bool(names & {"ServerDisconnectedError", "ClientOSError"}) and "ClientConnectorError" not in names
        # Who takes no connection is not there; who takes one and says nothing may be busy.
        gone = bool(names & {"ConnectError", "ConnectTimeout", "UnsupportedProtocol", "InvalidURL"}) and not cut
        slow = "TimeoutException" in names and not gone and not cut
        reason = f"{where} did not answer: {_reason(causes, names, url)}"
        raise EndpointError(reason, unreachable=gone, cut=not gone and not slow, timed_out=slow) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        inner = getattr(seen, "os_error", None)
        if isinstance(inner, BaseException):
            yield inner
        seen = seen.__cause__ or seen.__context__


def _reason(causes: list[BaseException], names: set[str], url: str) -> str:
    host = urlsplit(url).hostname
    said = " ".join(map(str, causes))
    if names & {"ProxyError", "ClientProxyConnectionError", "ClientHttpProxyError"}:
        return (
            "the proxy of HTTP_PROXY or HTTPS_PROXY does not let it through: correct it, or name the host in NO_PROXY"
        )
    if names & {"gaierror", "ClientConnectorDNSError"} or "Name or service not known" in said:
        return f"no server is known by the name {host!r} (DNS): correct base_url or OPENAI_BASE_URL"
    if names & {"SSLCertVerificationError", "ClientConnectorCertificateError"} or "CERTIFICATE_VERIFY_FAILED" in said:
        return "its TLS certificate is not trusted: name the one that signed it in SSL_CERT_FILE"
    if names & {"SSLError", "ClientSSLError"} or "[SSL" in said:
        return "it does not speak TLS: a server of one's own is often asked with http:// instead of https://"
    refused = any(getattr(each, "errno", None) == errno.ECONNREFUSED for each in causes) or "refused" in said.lower()
    if refused:
        return "nothing listens there (connection refused): start its server, or correct base_url or OPENAI_BASE_URL"
    return type(causes[1] if len(causes) > 1 else causes[0]).__name__
