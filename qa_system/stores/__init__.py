"""Document stores: where reviews live, and how they are found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.config import StoreSettings
from qa_system.errors import StoreNotFoundError
from qa_system.records import Similarity

if TYPE_CHECKING:
    from qa_system.stores.faiss import FAISSDocumentStore

__all__ = ["FAISSDocumentStore", "open_store"]


def open_store(
    settings: StoreSettings, *, create: bool = False, similarity: Similarity | None = None
) -> FAISSDocumentStore:
    """Open the store that the settings name.

    Args:
        settings: where it is, and how its vectors are searched.
        create: accept that it is not there; its first write makes it.
        similarity: that of a new store whose settings leave it open (the encoder's); None takes
            the dot product. A store that is there keeps its own.

    Raises:
        StoreNotFoundError: it is not there, and `create` is False.
        StoreMismatchError: the settings name another similarity than the store was made with.

    >>> import tempfile
    >>> with open_store(StoreSettings(path=tempfile.mkdtemp()), create=True) as store:
    ...     store.count_documents()
    0
    """
    from qa_system.stores.faiss import FAISSDocumentStore, stored_similarity

    path = Path(settings.path)
    stored = stored_similarity(path)
    if stored is None and not create:
        raise StoreNotFoundError(
            "there is no store",
            where=str(path),
            remedy="Index reviews into it first: qa-index run --source PATH --store "
            f"{settings.path}.",
        )
    chosen: Similarity = "dot_product"
    for given in (similarity, stored, settings.similarity):
        chosen = chosen if given is None else given
    return FAISSDocumentStore(path, similarity=chosen, index=settings.index, gpu=settings.gpu)


def __getattr__(name: str) -> Any:
    # Haystack, which the store imports, takes seconds to import: `import qa_system` must not pay.
    if name == "FAISSDocumentStore":
        from qa_system.stores.faiss import FAISSDocumentStore

        return FAISSDocumentStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
