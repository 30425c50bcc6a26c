"""What answers depend on beside the reviews: models and settings."""

from __future__ import annotations

from collections.abc import Mapping

from qa_system.config import Settings
from qa_system.models.locate import locate, weights_hash

__all__ = ["models_of", "version_of"]


def models_of(settings: Settings) -> dict[str, str]:
    """Return the hashes of the models that answers depend on, by their names."""
    names = {settings.encoder.model, settings.encoder.question_model, settings.reader.model}
    names |= {settings.ranker.model, settings.judge.model if settings.judge.sentences else None}
    return {name: weights_hash(locate(name).path) for name in sorted(filter(None, names))}


def version_of(settings: Settings, models: Mapping[str, str]) -> str:
    """Return a text that changes when the models or the settings do that answers depend on."""
    chosen = settings.model_dump_json(exclude={"serving", "indexing", "store"})
    return "".join([chosen, *models.values()])
