"""The way to an Elasticsearch server: address, credentials, and its errors as this package's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, local
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from qa_system.errors import (
    ConfigError,
    MissingDependencyError,
    StoreAccessError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
    StoreVersionError,
)
from qa_system.stores.filters import InvalidFilterError

if TYPE_CHECKING:
    from elasticsearch import ApiError, Elasticsearch

__all__ = ["Connection", "Credentials", "blocked", "closed", "explained", "reason_of"]

MAJOR: Final = 8
"""Client and server agree in their major version."""
LONGEST_REASON: Final = 400


@dataclass(frozen=True, slots=True)
class Credentials:
    """The names of the environment variables that hold what a server asks for.

    Args:
        api_key_env: of an API key, in its encoded form.
        username_env: of a user.
        password_env: of that user's password.
        ca_certs_env: of the path of a CA certificate.
    """

    api_key_env: str | None = None
    username_env: str | None = None
    password_env: str | None = None
    ca_certs_env: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the client's arguments, with the variables' values.

        Raises:
            ConfigError: a variable is not set, or half of user and password is missing.
        """
        options: dict[str, Any] = {}
        if (self.username_env is None) != (self.password_env is None):
            raise ConfigError(
                "a user needs a password, and a password a user",
                remedy="Set both username_env and password_env, or neither.",
            )
        if self.api_key_env is not None:
            options["api_key"] = _variable(self.api_key_env)
        elif self.username_env is not None and self.password_env is not None:
            options["basic_auth"] = (_variable(self.username_env), _variable(self.password_env))
        if self.ca_certs_env is not None:
            options["ca_certs"] = _variable(self.ca_certs_env)
        return options


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f"the environment variable {name} is not set",
            remedy="Set it, or name another one in the store's settings.",
        )
    return value


class Connection:
    """One server or cluster; the client is made when it is first needed, and checked then.

    Args:
        url: its address, or several separated by commas.
        credentials: where to find what it asks for.
        verify_certs: whether a server must prove by TLS who it is.
        timeout: seconds that one request may take.

    Raises:
        ConfigError: the address is none, or holds a password.
    """

    def __init__(
        self, url: str, credentials: Credentials, *, verify_certs: bool, timeout: float
    ) -> None:
        self.url = url
        self._hosts = [each.strip() for each in url.split(",")]
        for host in self._hosts:
            _check_url(host)
        self._credentials = credentials
        self._verify_certs = verify_certs
        self._timeout = timeout
        self._lock = Lock()
        self._client: Elasticsearch | None = None
        self._process = os.getpid()
        self._patience = local()

    @property
    def client(self) -> Elasticsearch:
        """The client, after the server has said that it is one that we can talk to.

        Raises:
            StoreUnavailableError: it does not answer.
            StoreAccessError: it does not let us in.
            StoreVersionError: it is of another major version, or no Elasticsearch at all.
            MissingDependencyError: the client is not installed.
        """
        with self._lock:
            if self._client is None or self._process != os.getpid():
                client = self._connect()
                with explained(self.url):
                    number = client.info()["version"]["number"]
                if int(number.split(".")[0]) != MAJOR:
                    raise StoreVersionError(
                        f"the server is Elasticsearch {number}, and {MAJOR}.x is needed",
                        where=self.url,
                        remedy=f"Name an Elasticsearch {MAJOR}.x server.",
                    )
                self._client, self._process = client, os.getpid()
            return self._client

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Let this thread's requests wait, in the block, for a server that is down or busy.

        Those who write in bulk can wait; a page cannot, and is told at once.

        Args:
            seconds: how long for each request, at most.
        """
        before = self._seconds_of_patience()
        self._patience.seconds = max(seconds, before)
        try:
            yield
        finally:
            self._patience.seconds = before

    def _seconds_of_patience(self) -> float:
        return float(getattr(self._patience, "seconds", 0.0))

    def close(self) -> None:
        """Let the connections go; the next use makes others."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._process == os.getpid():
            client.close()

    def _connect(self) -> Elasticsearch:
        try:
            from qa_system.stores.elastic.client import make_client
        except ImportError as error:
            raise MissingDependencyError(
                "the Elasticsearch client is not installed",
                remedy="pip install 'qa-system[elasticsearch]'",
            ) from error
        options = self._credentials.options()
        if any(host.startswith("https:") for host in self._hosts):
            options["verify_certs"] = self._verify_certs
            options["ssl_show_warn"] = False
        else:
            options.pop("ca_certs", None)
        return make_client(
            self._hosts,
            self._seconds_of_patience,
            where=self.url,
            request_timeout=self._timeout,
            **options,
        )


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{url!r} is not a server's address", remedy="Write for example http://localhost:9200."
        )
    if parts.username or parts.password:
        raise ConfigError(
            "the server's address holds a user or a password, which settings never do",
            where=f"{parts.scheme}://{parts.hostname}",
            remedy="Name environment variables: username_env and password_env, or api_key_env.",
        )


def reason_of(error: Any) -> str:
    """Return the server's reason in one line; the innermost cause says most.

    >>> reason_of({"type": "x", "reason": "failed", "caused_by": {"reason": "too long"}})
    'failed: too long'
    """
    if not isinstance(error, dict):
        return str(error)[:LONGEST_REASON]
    outer = str(error.get("reason", error.get("type", error))).split(" Preview of")[0]
    cause = error.get("caused_by")
    while isinstance(cause, dict) and isinstance(cause.get("caused_by"), dict):
        cause = cause["caused_by"]
    inner = "" if cause is None else str(cause.get("reason", ""))
    joined = outer if not inner or inner in outer else f"{outer}: {inner}"
    return " ".join(joined.split())[:LONGEST_REASON]


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the client raises into this package's errors.

    Args:
        where: the server, or the index on it.
    """
    import elasticsearch

    try:
        yield
    except elasticsearch.UnsupportedProductError as error:
        raise StoreVersionError(
            "what answers there is not Elasticsearch",
            where=where,
            remedy=f"Name an Elasticsearch {MAJOR}.x server.",
        ) from error
    except elasticsearch.ApiError as error:
        raise _translated(error, where) from error
    except elasticsearch.SerializationError as error:
        raise _unreadable(error, where) from error
    except elasticsearch.TransportError as error:
        is_tls = isinstance(error, elasticsearch.SSLError)
        raise StoreUnavailableError(
            f"the server cannot be reached: {error.message}"[:LONGEST_REASON],
            where=where,
            remedy="Name its CA certificate by ca_certs_env."
            if is_tls
            else "Check that it runs, and its address.",
        ) from error


def _unreadable(error: Exception, where: str) -> StoreError:
    """Tell what could not be made JSON, or read as JSON."""
    said = str(getattr(error, "message", error)).splitlines()[0][:LONGEST_REASON]
    if "deserialize" in said:
        return StoreUnavailableError(
            f"the answer is no JSON: {said}",
            where=where,
            remedy="Something between here and the server answers in its place, such as a proxy: "
            "check the address.",
        )
    return StoreError(
        f"what was asked cannot be written as JSON, and was not sent: {said}",
        where=where,
        remedy="Ask with texts of whole characters (half of a surrogate pair is none) and finite "
        "numbers.",
    )


def closed(where: str) -> StoreUnavailableError:
    """Return the error for an index that somebody has closed."""
    return StoreUnavailableError(
        "the index is closed: somebody has taken it out of use on the server",
        where=where,
        remedy="Open it: POST /INDEX/_open. Its documents are as they were.",
    )


def blocked(reason: str, where: str) -> StoreUnavailableError:
    """Return the error for a block of the server, which says by its name what lifts it.

    >>> print(blocked("index [a] blocked by: [FORBIDDEN/8/index write (api)];", "a").remedy)
    Somebody has set it: PUT /INDEX/_settings {"index.blocks.write": null} lifts it.
    """
    if "flood" in reason or "read-only / allow delete" in reason:
        remedy = (
            "The disk is full (its flood stage is reached): make room, or add a node; the server "
            "lifts the block by itself then."
        )
    elif "cluster read-only" in reason:
        remedy = (
            'Somebody has set it: PUT /_cluster/settings {"persistent": '
            '{"cluster.blocks.read_only": null, "cluster.blocks.read_only_allow_delete": null}} '
            "lifts it."
        )
    elif "no master" in reason or "not recovered" in reason or "not initialized" in reason:
        remedy = "The cluster is starting, or has lost its master: wait, or start its other nodes."
    else:
        kinds = {"read-only (api)": "read_only", "index read (api)": "read"}
        kinds |= {"index write (api)": "write", "metadata (api)": "metadata"}
        kind = next((kinds[each] for each in kinds if each in reason), "read_only")
        remedy = (
            f'Somebody has set it: PUT /INDEX/_settings {{"index.blocks.{kind}": null}} lifts it.'
        )
    return StoreUnavailableError(f"the server blocks this: {reason}", where=where, remedy=remedy)


def _translated(error: ApiError, where: str) -> StoreError:
    status, body = error.meta.status, error.body
    cause = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(cause, dict) and cause.get("root_cause"):
        root = cause["root_cause"][0]
        kind, reason = str(root.get("type")), reason_of(cause)
        if root.get("reason") and str(root["reason"]) not in reason:
            reason = f"{reason_of(root)}: {reason}"[:LONGEST_REASON]
    else:
        kind, reason = str(error.message), reason_of(cause)
    if status == 401:
        return StoreAccessError(
            "the server asks who we are, or does not know us",
            where=where,
            remedy="Set api_key_env, or username_env and password_env, to the environment "
            "variables that hold valid credentials.",
        )
    if "block" in kind:
        return blocked(reason, where)
    if status == 403:
        return StoreAccessError(
            f"the server does not allow this: {reason}",
            where=where,
            remedy="It takes the cluster privilege monitor, and on the index read, write, "
            "view_index_metadata and manage.",
        )
    if kind == "index_closed_exception":
        return closed(where)
    if kind == "index_not_found_exception":
        return StoreNotFoundError(
            "there is no such index", where=where, remedy="Index reviews into it first."
        )
    if "maxClauseCount" in reason or "too_many" in reason or "max_nested_depth" in reason:
        return InvalidFilterError(
            f"the filter has more conditions than this server takes: {reason}",
            where=where,
            remedy="Ask with fewer conditions, or give the server more memory: its limit grows "
            "with that.",
        )
    if status == 429 or status >= 500:
        return StoreUnavailableError(
            f"the server has no time or no place for this ({status}): {reason}",
            where=where,
            remedy="Try again when it has less to do.",
        )
    return StoreError(f"the server refused ({status}): {reason}", where=where)
