"""`qa-index reembed`: a store's documents embedded by another encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qa_system.console.app import print_json
from qa_system.console.options import ENCODER, SENTENCES, STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["reembed"]


@takes_settings(STORE, SENTENCES, *ENCODER)
def reembed(settings: Settings, as_json: JsonOption = False) -> None:
    """Embed the documents of a store with another encoder.

    Until all are embedded, questions are answered with the old embeddings. If only the question
    encoder is another one, nothing is embedded: the store takes questions by it from now on.
    Documents that were written without their sentences are divided; they are searched as before
    until then.
    """
    from dataclasses import asdict
    from time import monotonic

    from qa_system.console.progress import progress
    from qa_system.retrievers.encoders import load_encoder
    from qa_system.stores import open_store

    start = monotonic()
    with open_store(settings.store) as opened:
        loaded = load_encoder(settings.encoder)
        documents = opened.count_documents()
        before = opened.encoder
        with progress("embedding", unit="documents", total=documents) as shown:
            embedded = opened.update_embeddings(
                loaded, on_progress=shown.advance, sentences=settings.indexing.sentences
            )
    seconds = round(monotonic() - start, 3)
    if as_json:
        print_json(
            {
                "store": settings.store.place,
                "embedded": embedded,
                "seconds": seconds,
                "encoder": asdict(loaded.identity),
            }
        )
    elif before is not None and before.differs_in_questions(loaded.identity):
        typer.echo(
            f"{settings.store.place}: takes questions by "
            f"{loaded.identity.question_name or loaded.identity.name} now; the embeddings of its "
            f"{documents:,} documents stay"
        )
    else:
        typer.echo(
            f"{settings.store.place}: {counted(embedded, 'document')} embedded by "
            f"{loaded.identity.name} in {seconds:,.1f} s"
        )
