"""An encoder that a component loads when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from pydantic import ValidationError

from qa_system.config import EncoderSettings, describe
from qa_system.errors import ConfigError
from qa_system.records import EncoderIdentity
from qa_system.retrievers.encoders import Encoder, shared_encoder

__all__ = ["LateEncoder"]


class LateEncoder:
    """Loads an encoder once, for any number of threads.

    Args:
        settings: with the keys of `encoder:` in the configuration; None takes the defaults.
        accept: is told the encoder's identity before it is used, and may refuse it.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None,
        accept: Callable[[EncoderIdentity], None] | None = None,
    ) -> None:
        self._settings = settings
        self._accept = accept
        self._loaded: Encoder | None = None
        self._loading = Lock()

    def get(self) -> Encoder:
        """Return the encoder.

        Raises:
            ConfigError: the settings are wrong.
            EncoderMismatchError: the store refuses it.
            ModelError: it cannot be loaded.
        """
        with self._loading:
            if self._loaded is None:
                encoder = shared_encoder(_settings_of(self._settings))
                if self._accept is not None:
                    self._accept(encoder.identity)
                self._loaded = encoder
            return self._loaded


def _settings_of(given: Mapping[str, Any] | None) -> EncoderSettings:
    try:
        return EncoderSettings.model_validate({} if given is None else given)
    except ValidationError as error:
        raise ConfigError(
            describe(error, {}, whole="encoder"),
            remedy="Pass a dictionary with the keys of `encoder:` in the configuration.",
        ) from None
