"""Who may ask: API keys, compared in constant time, and known by their hashes alone."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from qa_system.config import KeySettings
from qa_system.errors import ConfigError
from qa_system.serving.errors import KeyRefusedError

__all__ = ["Caller", "Keys"]

SHORTEST: Final = 16
"""Characters of a key that an environment variable holds: shorter ones can be guessed."""


class Caller(NamedTuple):
    """Who sends a request.

    Args:
        name: of the API key; `anonymous` where the service has none.
        key: None where the service has none.
    """

    name: str
    key: KeySettings | None


class Keys:
    """The API keys of a service.

    Args:
        keys: as they are set; none: everybody may ask.
        environ: has the keys that are named by a variable; None: the process's.

    Raises:
        ConfigError: a variable is not set, its key is too short, or two keys are the same.

    >>> keys = Keys([KeySettings(name="shop", env="SHOP_KEY")], {"SHOP_KEY": "0123456789abcdef"})
    >>> keys.caller("0123456789abcdef", {}, browser=False).name
    'shop'
    """

    def __init__(
        self, keys: Iterable[KeySettings], environ: Mapping[str, str] | None = None
    ) -> None:
        values = os.environ if environ is None else environ
        self._known = [(_digest_of(key, values), key) for key in keys]
        names: dict[str, str] = {}
        for digest, key in self._known:
            if names.setdefault(digest, key.name) != key.name:
                raise ConfigError(
                    f"{names[digest]} and {key.name} are the same key: what it may do is not clear",
                    where="serving.keys",
                    remedy="Leave one of them out, or make another key.",
                )

    @property
    def origins(self) -> list[str]:
        """Those of publishable keys."""
        return sorted({origin for _, key in self._known for origin in key.origins})

    def caller(self, given: str | None, headers: Mapping[str, str], *, browser: bool) -> Caller:
        """Return who has sent a request.

        Args:
            given: the key that came with it.
            headers: of the request, names in small letters.
            browser: whether a publishable key may do what is asked.

        Raises:
            KeyRefusedError: there is no such key, or it may not do this, or not from there.
        """
        if not self._known:
            return Caller("anonymous", None)
        if given is None:
            raise KeyRefusedError("send an API key as Authorization: Bearer KEY, or as X-API-Key")
        digest = hashlib.sha256(given.encode(errors="replace")).hexdigest()
        found: KeySettings | None = None
        for known, key in self._known:  # all of them, so that the time tells nothing
            if hmac.compare_digest(known, digest):
                found = key
        if found is None:
            raise KeyRefusedError("there is no such API key")
        if found.is_publishable and not browser:
            raise KeyRefusedError("a publishable API key may not do this")
        if found.is_publishable and _origin_of(headers) not in found.origins:
            raise KeyRefusedError("this API key is bound to other origins")
        return Caller(found.name, found)


def _digest_of(key: KeySettings, values: Mapping[str, str]) -> str:
    if key.sha256 is not None:
        return key.sha256
    value = values.get(str(key.env), "")
    if len(value) < SHORTEST:
        said = "is not set" if not value else f"has fewer than {SHORTEST} characters"
        raise ConfigError(
            f"the variable {key.env} {said}",
            where=f"serving.keys, {key.name}",
            remedy="Set it to a random key, for example that of `openssl rand -hex 24`.",
        )
    return hashlib.sha256(value.encode()).hexdigest()


def _origin_of(headers: Mapping[str, str]) -> str | None:
    """Return where a page is from; a browser sends no Origin with a GET to the page's own."""
    if "origin" in headers:
        return headers["origin"]
    try:
        referrer = urlsplit(headers.get("referer", ""))
    except ValueError:  # brackets hold no IPv6 address
        return None
    return f"{referrer.scheme}://{referrer.netloc}" if referrer.netloc else None
