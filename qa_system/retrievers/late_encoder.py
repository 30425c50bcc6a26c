"""An encoder that a component loads when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar

from pydantic import ValidationError

from qa_system.config import EncoderSettings, Strict, describe
from qa_system.errors import ConfigError
from qa_system.records import EncoderIdentity
from qa_system.retrievers.encoders import Encoder, shared_encoder

__all__ = ["LateEncoder", "section_of"]

Section = TypeVar("Section", bound=Strict)


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
                encoder = shared_encoder(section_of(EncoderSettings, self._settings, "encoder"))
                if self._accept is not None:
                    self._accept(encoder.identity)
                self._loaded = encoder
            return self._loaded


def section_of(kind: type[Section], given: Mapping[str, Any] | None, name: str) -> Section:
    """Return a section of the configuration that a component was given as a dictionary.

    Args:
        kind: of the section.
        given: with its keys; None takes the defaults.
        name: of the section.

    Raises:
        ConfigError: naming every unknown key and wrong value.
    """
    try:
        return kind.model_validate({} if given is None else given)
    except ValidationError as error:
        raise ConfigError(
            describe(error, {}, whole=name),
            remedy=f"Pass a dictionary with the keys of `{name}:` in the configuration.",
        ) from None
