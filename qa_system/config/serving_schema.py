"""How `qa serve` serves: where it listens, who may ask, and how much."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from qa_system.config.choices import AnswerMode
from qa_system.config.store_schema import Strict

__all__ = ["AskedSettings", "AuditSettings", "KeySettings", "ServingSettings"]

Positive = Annotated[int, Field(ge=1, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Days = Annotated[int, Field(ge=1, le=36_500)]


def _named(place: str) -> str:
    """Return the name of a file, a folder, a variable or a host, which may not be empty."""
    if not place.strip() or "\0" in place:
        raise ValueError("is empty, or has a character of code 0; leave the setting out instead")
    return place


def _origin(given: str) -> str:
    """Return an origin as browsers send it.

    >>> _origin("https://Shop.example:443"), _origin("http://[::1]:8080")
    ('https://shop.example', 'http://[::1]:8080')
    """
    try:
        parts = urlsplit(given)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except ValueError:  # the port is no number, or the host no name
        host = ""
    is_odd = any(each.isspace() or each in "*?#@" for each in given)
    if not host or is_odd or parts.path or parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"{given!r} is no origin; write for example https://shop.example")
    is_default = port == DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if is_default else f":{port}")


def _collector(address: str) -> str:
    """Return the address of a collector of traces."""
    try:
        parts = urlsplit(address)
        is_sound = parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound:
        raise ValueError("is no address; write for example http://localhost:4318/v1/traces")
    return address


DEFAULT_PORTS = {"http": 80, "https": 443}
Name = Annotated[str, AfterValidator(_named)]
Origin = Annotated[str, AfterValidator(_origin)]


class KeySettings(Strict):
    """An API key: who has it, and what it may do. The key itself is no setting."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
    """Names the key in logs and metrics."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the key, in hexadecimal digits."""
    env: Name | None = None
    """The environment variable that holds the key, in place of its hash."""
    origins: tuple[Origin, ...] = ()
    """Makes the key publishable: a browser may use it on pages of these origins."""
    per_minute: Positive | None = None
    """Questions a minute, of all workers together; None: any number."""

    @property
    def is_publishable(self) -> bool:
        """Whether the key may be in a page that everybody reads."""
        return bool(self.origins)

    @model_validator(mode="after")
    def _is_told_once(self) -> KeySettings:
        if (self.sha256 is None) == (self.env is None):
            raise ValueError(f"key {self.name!r} needs either sha256 or env")
        return self


class AuditSettings(Strict):
    """What is kept of every answer, so that it can be explained and given again."""

    file: Name | None = None
    """The file; None: nothing is kept."""
    days: Days | None = 30
    """How long an answer is kept; None: until others take its place."""
    rows: Positive | None = 1_000_000
    """How many answers are kept, the newest; None: any number."""


class AskedSettings(Strict):
    """The questions that are asked most of an item, which the widget shows."""

    file: Name | None = None
    """The file; None: questions are neither kept nor shown."""
    days: Days = 90
    """How long an asking counts."""
    askings: Positive = 3
    """From how many on a question is shown; those of one client count once a day."""
    shown: Positive = 5
    """Questions of an item at most."""


class ServingSettings(Strict):
    """How `qa serve` serves."""

    host: Name = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """0: one that is free."""
    workers: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Processes, each with the models of its own."""
    keys: tuple[KeySettings, ...] = ()
    """None: everybody who reaches the address may ask."""
    state: Name | None = None
    """The folder in which workers count for the rate limits; None: a temporary one."""
    modes: Annotated[tuple[AnswerMode, ...], Field(min_length=1)] = ("extract", "generate", "auto")
    """What a request may name as its mode."""
    max_body_bytes: Positive = 100_000
    max_question_chars: Positive = 500
    max_questions: Positive = 32
    """Questions in one request."""
    max_top_k: Positive = 20
    queue: Positive = 200
    """Questions that wait for a worker at most; further requests are refused at once."""
    batch_tokens: Positive = 8192
    """Tokens that are read together: as many questions as their `reader.budget` allows."""
    batch_wait_ms: Count = 4
    """How long an idle worker waits for further questions to read together."""
    timeout_ms: Positive = 10_000
    """After which a question is given up that names no `timeout_ms`."""
    max_timeout_ms: Positive = 60_000
    drain_seconds: Positive = 30
    """How long a worker that is stopped may take for the requests that it has accepted."""
    cache_bytes: Count = 64_000_000
    """Of answers that are kept in memory, by all workers together; 0: none are."""
    cache_seconds: Count = 60
    """How long a client may keep an answer (`Cache-Control: max-age`)."""
    poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 1.0
    """How often a server's index is asked for changes; the embedded store is asked each time."""
    feedback: Name | None = None
    """The file of what shoppers say of answers; None: nothing is taken."""
    audit: AuditSettings = AuditSettings()
    asked: AskedSettings = AskedSettings()
    log_questions: bool = False
    """Whether logs have the text of questions, which may be personal."""
    traces: Annotated[str, AfterValidator(_collector)] | None = None
    """The address of an OpenTelemetry collector, to which traces are sent over HTTP."""

    @model_validator(mode="after")
    def _fits_together(self) -> ServingSettings:
        if self.max_questions > self.queue:
            raise ValueError("max_questions is more than queue: such a request could never wait")
        if self.timeout_ms > self.max_timeout_ms:
            raise ValueError("timeout_ms is more than max_timeout_ms")
        names = [key.name for key in self.keys]
        if len(set(names)) < len(names):
            raise ValueError("two keys have the same name")
        return self
