"""Labelled questions embedded, and k and the threshold chosen on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from qa_system.config import EncoderSettings
from qa_system.errors import DataError
from qa_system.nearest.examples import Example, is_right
from qa_system.nearest.kept import EncodedBy, Labelled
from qa_system.nearest.search import unit_vectors
from qa_system.nearest.votes import KS, Chosen, choose
from qa_system.retrievers.encoders import shared_encoder
from qa_system.retrievers.late_encoder import section_of

__all__ = ["fit"]


def fit(
    train: Sequence[Example],
    dev: Sequence[Example],
    field: str,
    encoder: Mapping[str, Any] | None = None,
) -> Labelled:
    """Embed labelled questions, and choose k and the threshold on held-out ones.

    Args:
        train: the questions whose labels are given to others; those without a label are left out.
        dev: held-out questions, among them those without a label; none: k is 1, and any label is
            given.
        field: what the labels are.
        encoder: settings, as a dictionary with the keys of `encoder:`; None takes the defaults.

    Raises:
        DataError: no question of `train` has a label.
        ModelError: the encoder cannot be loaded.
    """
    examples = tuple(each for each in train if each.labels)
    if not examples:
        raise DataError(
            "no question has a label",
            where=field,
            remedy="Name another field, or another split to learn from.",
        )
    chosen = section_of(EncoderSettings, encoder, "encoder")
    loaded = shared_encoder(chosen)
    identity = loaded.identity
    vectors = unit_vectors(loaded.encode_questions([each.text for each in examples]))
    made_by = EncodedBy(
        chosen.model, chosen.question_model, identity.question_hash or identity.weights_hash
    )
    bare = Labelled(field, examples, vectors, made_by, Chosen())
    if not dev:
        return bare
    near = bare.neighbours(
        loaded.encode_questions([each.text for each in dev]),
        max(KS),
        [each.item_id for each in dev],
    )
    suited = choose(
        near,
        [each.labels for each in dev],
        single=bare.single,
        is_right=partial(is_right, field),
    )
    return Labelled(field, examples, vectors, made_by, suited)
