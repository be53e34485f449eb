"""What went wrong with a connection, in words: a name, a proxy, a certificate, a port where nothing listens."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from agenttts.errors import EndpointError

_OF_A_CONNECTION = {"RequestError", "InvalidURL", "OSError", "ClientError"}
"""httpx and its successor httpx2, whichever the official client brings, name their errors alike; so does aiohttp,
whose error is the cause, and says more: the transport calls a connection that was cut a ConnectTimeout."""

_OF_A_PROXY = {"ProxyError", "ClientProxyConnectionError", "ClientHttpProxyError"}
_UNCONNECTED = {"ConnectError", "ConnectTimeout"}
_BROKEN_OFF = {
    *("ServerDisconnectedError", "ClientOSError", "ConnectionError", "RemoteProtocolError", "ReadError"),
    *("SSLEOFError", "SSLZeroReturnError"),
}
_OF_ITS_TIME, _OF_ANOTHER_NAME = (9, 10), (62, 64)
"""Codes of OpenSSL (X509_V_ERR): not yet valid, expired; another host's, another address's."""


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
        for name in ("os_error", "certificate_error"):
            inner = getattr(seen, name, None)
            if isinstance(inner, BaseException):
                yield inner
        seen = seen.__cause__ or seen.__context__


def _reason(causes: list[BaseException], names: set[str], url: str) -> str:
    parts, said = urlsplit(url), " ".join(map(str, causes))
    if names & {"SSLCertVerificationError"} or "CERTIFICATE_VERIFY_FAILED" in said:
        code = next((code for each in causes if (code := getattr(each, "verify_code", None)) is not None), None)
        return _of_a_certificate(code, parts.hostname)
    if names & _OF_A_PROXY or (names & _UNCONNECTED and _proxy(parts.scheme, parts.hostname or "")):
        return (
            "the proxy of HTTP_PROXY or HTTPS_PROXY does not let it through: correct it, or name the host in NO_PROXY"
        )
    if names & {"gaierror", "ClientConnectorDNSError"} or "Name or service not known" in said:
        return f"no server is known by the name {parts.hostname!r} (DNS): correct base_url or OPENAI_BASE_URL"
    if names & {"SSLError", "ClientSSLError"} or "[SSL" in said:
        return "it does not speak TLS: a server of one's own is often asked with http:// instead of https://"
    if any(getattr(each, "errno", None) == errno.ECONNREFUSED for each in causes) or "refused" in said.lower():
        return "nothing listens there (connection refused): start its server, or correct base_url or OPENAI_BASE_URL"
    if names & {"ClientPayloadError", "PayloadEncodingError"}:
        return "it broke its answer off, or gave a wrong length of it"
    if names & {"HttpProcessingError", "LocalProtocolError"} or "illegal status line" in said:
        return "what listens there does not speak HTTP: correct the port in base_url or OPENAI_BASE_URL"
    if names & _BROKEN_OFF:
        other = "http://, or start its server anew" if parts.scheme == "https" else "https:// where it speaks TLS"
        return f"it broke the connection off before it answered: ask it with {other}"
    if names & {"ConnectTimeout"}:
        return "no connection came about in time: look at the address, and for a firewall between"
    return type(causes[1] if len(causes) > 1 else causes[0]).__name__


def _of_a_certificate(code: int | None, host: str | None) -> str:
    """Why a certificate is not accepted, by OpenSSL's code, and what helps."""
    if code in _OF_ITS_TIME:
        return "its TLS certificate has expired, or is not valid yet: renew it, or set the clock of this machine"
    if code in _OF_ANOTHER_NAME:
        return f"its TLS certificate is of another server than {host!r}: ask it by a name that the certificate holds"
    return "its TLS certificate is not trusted: name a file with the one that signed it in SSL_CERT_FILE"


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy through which a host is asked, as the environment says."""
    if proxy_bypass(host):
        return None
    known = getproxies()
    return known.get(scheme) or known.get("all")
