"""Which retrievers there are, by the name that `retriever.mode` has: ours, and those of others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from qa_system.errors import ConfigError
from qa_system.plugins import expect_kind, offered

if TYPE_CHECKING:
    from haystack import Pipeline

    from qa_system.config import Settings
    from qa_system.stores.contract import ReviewStore

__all__ = ["RetrieverMode", "mode_named", "mode_of", "modes", "register"]

ENTRY_POINTS = "qa_system.retrievers"


@dataclass(frozen=True, slots=True)
class RetrieverMode:
    """A retriever: how it is built, and what it needs.

    Args:
        name: the value of `retriever.mode`.
        add: adds its components to a pipeline. The last one is called `retriever`, takes `query`
            and `filters`, and returns `documents`, best first, at most `retriever.top_k`.
        needs_embeddings: whether the store must have embeddings, and the encoder is loaded.
        scorer: the component whose documents have similarities of embeddings as their scores;
            None: there is none.
    """

    name: str
    add: Callable[[Pipeline, ReviewStore, Settings], None]
    needs_embeddings: bool = False
    scorer: str | None = None


def _add_bm25(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    from qa_system.retrievers.bm25 import BM25Retriever

    retriever = BM25Retriever(store, top_k=settings.retriever.top_k)
    pipeline.add_component("retriever", retriever)


def _add_dense(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    from qa_system.retrievers.dense import DenseRetriever

    encoder = settings.encoder.model_dump(exclude_defaults=True)
    retriever = DenseRetriever(store, encoder, top_k=settings.retriever.top_k)
    pipeline.add_component("retriever", retriever)


def _add_hybrid(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    from qa_system.retrievers.hybrid import add_hybrid

    add_hybrid(pipeline, store, settings)


def _add_sentences(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    from qa_system.retrievers.sentences import SentenceRetriever

    chosen = settings.retriever
    retriever = SentenceRetriever(
        store,
        settings.encoder.model_dump(exclude_defaults=True),
        top_k=chosen.top_k,
        bm25_weight=chosen.bm25_weight,
        relevant=chosen.relevant,
    )
    pipeline.add_component("retriever", retriever)


def _add_judged(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    from qa_system.retrievers.judged import JudgedSentenceRetriever

    chosen = settings.retriever
    retriever = JudgedSentenceRetriever(
        store,
        settings.encoder.model_dump(exclude_defaults=True),
        settings.judge.model_dump(exclude_defaults=True),
        top_k=chosen.top_k,
        bm25_weight=chosen.bm25_weight,
        relevant=chosen.relevant,
    )
    pipeline.add_component("retriever", retriever)


OURS = {
    mode.name: mode
    for mode in (
        RetrieverMode("bm25", _add_bm25),
        RetrieverMode("dense", _add_dense, needs_embeddings=True, scorer="retriever"),
        RetrieverMode("hybrid", _add_hybrid, needs_embeddings=True, scorer="dense"),
        RetrieverMode("sentences", _add_sentences, needs_embeddings=True),
        RetrieverMode("judged", _add_judged, needs_embeddings=True),
    )
}
_registered: dict[str, RetrieverMode] = {}


def register(*added: RetrieverMode) -> None:
    """Add retrievers to this process: `retriever.mode` may name them.

    The command lines find those of an installed package by an entry point instead, a
    `RetrieverMode` in the group `qa_system.retrievers`:

        [project.entry-points."qa_system.retrievers"]
        newest = "my_package:newest"

    Args:
        added: one of the same name that was registered before is replaced.

    Raises:
        ConfigError: a name is not a word, or one of our retrievers has it.
    """
    for mode in added:
        known = _checked(expect_kind(mode, RetrieverMode, "register"), "register")
        _registered[known.name] = known


def modes() -> dict[str, RetrieverMode]:
    """Return every retriever by its name, ours first.

    Raises:
        ConfigError: an installed package's retriever cannot be loaded.

    >>> list(modes())[:5]
    ['bm25', 'dense', 'hybrid', 'sentences', 'judged']
    """
    return {**OURS, **_installed(), **_registered}


def mode_of(settings: Settings) -> RetrieverMode:
    """Return the retriever that the settings name; see `mode_named`."""
    return mode_named(settings.retriever.mode)


def mode_named(name: str) -> RetrieverMode:
    """Return the retriever of a name.

    Raises:
        ConfigError: there is none.
    """
    if name in OURS:  # whatever another package's entry point does
        return OURS[name]
    known = modes()
    if name not in known:
        raise ConfigError(
            f"retriever.mode: there is no {name!r}",
            remedy=f"Choose one of: {', '.join(known)}. A retriever of your own is registered by "
            f"qa_system.retrievers.registry.register, or by an entry point {ENTRY_POINTS!r}.",
        )
    return known[name]


@cache
def _installed() -> dict[str, RetrieverMode]:
    return {
        mode.name: _checked(mode, where) for where, mode in offered(ENTRY_POINTS, RetrieverMode)
    }


def _checked(mode: RetrieverMode, where: str) -> RetrieverMode:
    if not re.fullmatch(r"[a-z]\w*", mode.name):
        raise ConfigError(
            f"retriever {mode.name!r} has a name that settings cannot use",
            where=where,
            remedy="Use lower-case letters, digits and underscores.",
        )
    if mode.name in OURS:
        raise ConfigError(
            f"retriever {mode.name!r} exists already", where=where, remedy="Choose another name."
        )
    return mode
