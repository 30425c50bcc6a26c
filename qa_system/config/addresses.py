"""The address of a store on a server: the server's and, after the last slash, the index."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from qa_system.errors import ConfigError

__all__ = ["is_address", "refuse_address", "split_address"]

EXAMPLE = "Write for example http://localhost:9200/reviews."
_WITHOUT_SCHEME = re.compile(r"[\w.-]+:\d+/")


def refuse_address(folder: str) -> str:
    """Return the name of a folder as it is.

    Raises:
        ValueError: it is a server's address, with or without its scheme.

    >>> refuse_address("my-store")
    'my-store'
    """
    if "://" in folder or _WITHOUT_SCHEME.match(folder):
        raise ValueError(
            "is a server's address, not a folder; set store.type to elasticsearch, store.url "
            "and store.index, or name the whole store: --store ADDRESS"
        )
    return folder


def is_address(name: str) -> bool:
    """Tell the address of a server from the name of a folder or an index.

    Raises:
        ConfigError: it is an address without its scheme.

    >>> is_address("http://localhost:9200/reviews"), is_address("my-store")
    (True, False)
    """
    if _WITHOUT_SCHEME.match(name):
        raise ConfigError(
            "the store's address has no scheme", where=name, remedy=f"Write http://{name}."
        )
    return "://" in name


def split_address(address: str) -> tuple[str, str]:
    """Return the server's URL and the name of the index.

    Args:
        address: of a cluster: several addresses, separated by commas. The index stands after the
            last one, and may stand after the others as well.

    Raises:
        ConfigError: it is not an http or https address, has no index, or holds a user or password.

    >>> split_address("http://localhost:9200/reviews")
    ('http://localhost:9200', 'reviews')
    >>> split_address("https://one.example,https://two.example/search/reviews/")
    ('https://one.example,https://two.example/search', 'reviews')
    """
    if "@" in address:
        raise ConfigError(
            "the store's address holds a user or a password, which would be seen by others",
            where=address.rpartition("@")[2],
            remedy="Leave it out, and name environment variables: --set store.username_env=NAME "
            "--set store.password_env=NAME, or --set store.api_key_env=NAME.",
        )
    scheme = address.partition("://")[0]
    hosts = [host.strip().rstrip("/") for host in address.split(",")]
    hosts = [host if "://" in host else f"{scheme}://{host}" for host in hosts]
    index = _path(hosts[-1]).rpartition("/")[2]
    if not index:
        raise ConfigError("the store's address has no index", where=address, remedy=EXAMPLE)
    named = f"/{index}"
    servers = [host.removesuffix(named) if _path(host).endswith(named) else host for host in hosts]
    return ",".join(servers), index


def _path(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # The port is not a number, or brackets hold no IPv6 address.
        valid = False
    if not valid or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is not a server's address", remedy=EXAMPLE)
    return parts.path
