"""How `qa serve` serves: where it listens, who may ask, and how much."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from qa_system.config.choices import AnswerMode
from qa_system.config.store_schema import Positive, Strict

__all__ = ["AskedSettings", "AuditSettings", "KeySettings", "ServingSettings"]

Count = Annotated[int, Field(ge=0)]


class KeySettings(Strict):
    """An API key: who has it, and what it may do. The key itself is no setting."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
    """Names the key in logs and metrics."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the key, in hexadecimal digits."""
    env: str | None = None
    """The environment variable that holds the key, in place of its hash."""
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s*]+$")], ...] = ()
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

    file: str | None = None
    """The file; None: nothing is kept."""
    days: Positive | None = 30
    """How long an answer is kept; None: until others take its place."""
    rows: Positive | None = 1_000_000
    """How many answers are kept, the newest; None: any number."""


class AskedSettings(Strict):
    """The questions that are asked most of an item, which the widget shows."""

    file: str | None = None
    """The file; None: questions are neither kept nor shown."""
    days: Positive = 90
    """How long an asking counts."""
    askings: Positive = 3
    """From how many on a question is shown; those of one client count once a day."""
    shown: Positive = 5
    """Questions of an item at most."""


class ServingSettings(Strict):
    """How `qa serve` serves."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """0: one that is free."""
    workers: Positive = 1
    """Processes, each with the models of its own."""
    keys: tuple[KeySettings, ...] = ()
    """None: everybody who reaches the address may ask."""
    state: str | None = None
    """The folder in which workers count for the rate limits; None: a temporary one."""
    modes: tuple[AnswerMode, ...] = ("extract", "generate", "auto")
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
    poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often a server's index is asked for changes; the embedded store is asked each time."""
    feedback: str | None = None
    """The file of what shoppers say of answers; None: nothing is taken."""
    audit: AuditSettings = AuditSettings()
    asked: AskedSettings = AskedSettings()
    log_questions: bool = False
    """Whether logs have the text of questions, which may be personal."""
    traces: str | None = None
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
