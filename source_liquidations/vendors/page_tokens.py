"""The token of the next page: in a field of its own, or in the address of the next page."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.client import Client


def next_token(client: Client, *, token: str | None, url: str | None, name: str) -> str | None:
    """The token of the next page, whose parameter is `name`; absent, null or empty on the last one.

    The address itself is never followed: it may embed the key. Raises UnexpectedAnswer where it is another origin's.
    """
    if url:
        client.check_origin(url)
    if token or not url:
        return token or None
    for pair in urlsplit(url).query.split("&"):
        parameter, _, value = pair.partition("=")
        if unquote(parameter) == name and value:
            return unquote(value)  # a plus is a plus: only forms write blanks so
    raise UnexpectedAnswer(f"the next page's address has no {name}.", advice="No page was guessed from it.")
