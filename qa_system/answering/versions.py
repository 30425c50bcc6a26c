"""What answers depend on beside the reviews: models and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress

from qa_system.config import Settings
from qa_system.consensus.confidence import place_of
from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.locate import locate, weights_hash

__all__ = ["models_of", "version_of"]


def models_of(settings: Settings) -> dict[str, str]:
    """Return the hashes of what answers depend on: models, by their names, and confidences."""
    names = {settings.encoder.model, settings.encoder.question_model, settings.reader.model}
    names |= {settings.ranker.model, settings.judge.model if settings.judge.sentences else None}
    if settings.generator.type == "rag" and set(settings.serving.modes) != {"extract"}:
        with suppress(ModelError, MissingDependencyError):  # without it, nothing is generated
            locate(settings.generator.model)
            names.add(settings.generator.model)
    found = {name: weights_hash(locate(name).path) for name in sorted(filter(None, names))}
    confidence = place_of(settings)
    if confidence.is_file():
        found["answers.confidence"] = hashlib.sha256(confidence.read_bytes()).hexdigest()
    return found


def version_of(settings: Settings, models: Mapping[str, str]) -> str:
    """Return a text that changes when the models or the settings do that answers depend on."""
    chosen = settings.model_dump_json(exclude={"serving", "indexing", "store"})
    return "".join([chosen, *models.values()])
