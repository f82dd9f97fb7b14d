"""Proxies and certificates as the environment sets them, and what is wrong with them."""

import os
import ssl
from collections.abc import Iterator
from functools import cache
from http.client import BadStatusLine
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from source_liquidations.errors import ConfigurationError
from source_liquidations.http.redaction import PROXY_VARIABLES

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXY_EXAMPLE = (
    "E.g. http://user:password@proxy.example.com:3128, with %-escapes for special characters in the password."
)


def settings(url: str) -> dict[str, Any]:
    """What an adapter of requests needs to reach the URL: proxies, certificates. Raises ConfigurationError."""
    with requests.Session() as session:
        found: dict[str, Any] = dict(session.merge_environment_settings(url, {}, None, None, None))
    _check_certificates(found["verify"])
    proxy = requests.utils.select_proxy(url, found["proxies"])
    if proxy is not None:
        _check_proxy(proxy)
    return found


@cache  # a bundle takes long to read, and each vendor would read it
def _check_certificates(verify: Any) -> None:
    if not isinstance(verify, str):
        return
    try:
        is_folder = os.path.isdir(verify)
        ssl.create_default_context(cafile=None if is_folder else verify, capath=verify if is_folder else None)
    except (OSError, ValueError) as error:
        name = next((name for name in _CA_VARIABLES if os.environ.get(name) == verify), _CA_VARIABLES[0])
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
        raise ConfigurationError(
            name,
            f"{verify} is not a usable bundle of CA certificates ({reason}).",
            advice="Give a file in PEM form.",
        ) from None


def _check_proxy(proxy: str) -> None:
    """Of a malformed address nothing is shown: any part of it may be one of the password."""
    name = _variable_of(proxy)
    try:  # as a request will read it
        urlsplit(proxy)
        address = requests.utils.prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call]
        parts = urllib3.util.parse_url(address)
        HTTPAdapter().proxy_headers(address)
        valid = bool(parts.host) and parts.path in {None, "/"} and parts.query is None and parts.fragment is None
    except (TypeError, ValueError):
        valid = False
    if not valid or parts.scheme not in {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}:
        raise ConfigurationError(name, "is not the address of a proxy.", advice=_PROXY_EXAMPLE)
    if parts.scheme.startswith("socks") and find_spec("socks") is None:
        raise ConfigurationError(
            name,
            "is a SOCKS proxy, which needs the package PySocks, and that is not installed.",
            advice="Install it, or use an HTTP proxy.",
        )


def _variable_of(proxy: str | None) -> str:
    """The environment variable that holds the proxy; HTTPS_PROXY where none does."""
    return next((name for name in PROXY_VARIABLES if os.environ.get(name) == proxy), PROXY_VARIABLES[0])


def refused_by_proxy(proxy: str | None, words: str) -> ConfigurationError:
    """The proxy does not let a request through. Its words never hold its address."""
    return ConfigurationError(
        _variable_of(proxy),
        f"the proxy refuses the connection ({words}).",
        advice="Check the proxy's address, user and password, and whether it allows the vendor's host.",
    )


def misconfigured(error: Exception, url: str, proxy: str | None, *, reached: bool) -> ConfigurationError | None:
    """What a failed exchange says about this machine's set-up, where no retry helps; None for all else.

    `reached` tells that this or an earlier exchange got through the proxy, so that it is only out of order now.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigurationError(
                "REQUESTS_CA_BUNDLE",
                f"the certificate of {urlsplit(url).hostname} is not trusted ({cause.verify_message}).",
                advice="If a proxy of your network inspects TLS, set this environment variable to a file with its CA"
                " certificate.",
            )
    if proxy is None:
        return None
    for cause in causes:
        if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed"):
            return refused_by_proxy(proxy, str(cause).partition(": ")[2])
    if not reached and any(isinstance(cause, (urllib3.exceptions.ProxyError, BadStatusLine)) for cause in causes):
        return refused_by_proxy(proxy, "no connection through it")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it: requests and urllib3 wrap errors as arguments, reasons and contexts."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        found = waiting.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]
