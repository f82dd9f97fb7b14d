"""Proxies and certificates from the environment, and what may be wrong with them."""

import os
import ssl
from collections.abc import Iterator, Mapping
from functools import cache
from http.client import BadStatusLine
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from source_liquidations.errors import ConfigurationError
from source_liquidations.http.deadlines import timed
from source_liquidations.http.redaction import PROXY_VARIABLES

_MAX_CONNECTIONS = 40  # the maximum of `num_workers`
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXY_EXAMPLE = (
    "E.g. http://user:password@proxy.example.com:3128, with %-escapes for special characters in the password."
)


def connections(url: str) -> tuple[urllib3.PoolManager, str | None]:
    """A connection pool for the URL's host, and the proxy in between, if any. Raises ConfigurationError."""
    bundles = [(name, os.environ[name]) for name in _CA_VARIABLES if os.environ.get(name)]
    certificates = _certificates(*bundles[0]) if bundles else {"ca_certs": requests.utils.DEFAULT_CA_BUNDLE_PATH}
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    if proxy is None:
        manager = urllib3.PoolManager(1, maxsize=_MAX_CONNECTIONS, **certificates)
    else:
        manager = _proxy_manager(proxy, certificates)
    pool = manager.connection_from_url(url)
    pool.ConnectionCls = timed(pool.ConnectionCls)
    return manager, proxy


@cache  # reading a bundle is slow, and each vendor would do it again
def _certificates(name: str, bundle: str) -> Mapping[str, Any]:
    """urllib3's arguments for a bundle, which is a file or a folder."""
    is_folder = os.path.isdir(bundle)
    try:
        ssl.create_default_context(cafile=None if is_folder else bundle, capath=bundle if is_folder else None)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
        raise ConfigurationError(
            name,
            f"{bundle} is not a usable bundle of CA certificates ({reason}).",
            advice="Give a file in PEM form.",
        ) from None
    return {"ca_cert_dir" if is_folder else "ca_certs": bundle}


def _proxy_manager(proxy: str, certificates: Mapping[str, Any]) -> urllib3.PoolManager:
    """Shows nothing of a malformed address: any part of it may belong to the password."""
    name = _variable_of(proxy)
    try:
        address = requests.utils.prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call]
        url = urllib3.util.parse_url(address)
        if not url.host or url.path not in {None, "/"} or url.query is not None or url.fragment is not None:
            raise ValueError
        manager: urllib3.PoolManager = HTTPAdapter(1, _MAX_CONNECTIONS).proxy_manager_for(address, **certificates)
    except requests.exceptions.InvalidSchema:
        raise ConfigurationError(
            name,
            "is a SOCKS proxy. It needs the package PySocks, which is not installed.",
            advice="Install it, or use an HTTP proxy.",
        ) from None
    except (TypeError, ValueError):
        raise ConfigurationError(name, "is not the address of a proxy.", advice=_PROXY_EXAMPLE) from None
    return manager


def _variable_of(proxy: str | None) -> str:
    """The environment variable that sets the proxy; HTTPS_PROXY if none does."""
    return next((name for name in PROXY_VARIABLES if os.environ.get(name) == proxy), PROXY_VARIABLES[0])


def refused_by_proxy(proxy: str | None, reason: str) -> ConfigurationError:
    """The proxy lets no request through. The reason must not contain its address."""
    return ConfigurationError(
        _variable_of(proxy),
        f"the proxy refuses the connection ({reason}).",
        advice="Check the proxy's address, user and password, and whether it allows the vendor's host.",
    )


def misconfigured(error: Exception, url: str, proxy: str | None, *, reached: bool) -> ConfigurationError | None:
    """The mistake in this machine's set-up that makes every retry fail; None if the exchange failed otherwise.

    `reached` means that this or an earlier exchange got through the proxy, so a failure of the proxy is temporary.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigurationError(
                "REQUESTS_CA_BUNDLE",
                f"the certificate of {urlsplit(url).hostname} is not trusted ({cause.verify_message}).",
                advice="If a proxy in your network inspects TLS, set this environment variable to a file with its CA"
                " certificate.",
            )
    if proxy is None:
        return None
    for cause in causes:
        if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed"):
            reason = str(cause).partition(": ")[2]
            # With a 5xx, a proxy says that it does not reach the vendor now.
            return None if reason.startswith("5") else refused_by_proxy(proxy, reason)
    if not reached and any(isinstance(cause, (urllib3.exceptions.ProxyError, BadStatusLine)) for cause in causes):
        return refused_by_proxy(proxy, "no connection through it")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its cause and context, and theirs in turn."""
    if error is not None:
        yield error
        yield from _causes(error.__cause__)
        yield from _causes(error.__context__)
