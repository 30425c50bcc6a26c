"""Document stores: where reviews live, and how they are found."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.config import AnyStoreSettings, ElasticsearchSettings, StoreSettings
from qa_system.errors import InvalidArgumentError, StoreError, StoreNotFoundError
from qa_system.records import Similarity

if TYPE_CHECKING:
    from qa_system.stores.contract import ReviewStore
    from qa_system.stores.elasticsearch import ElasticsearchReviewStore
    from qa_system.stores.faiss import FAISSDocumentStore

_HOMES = {
    "ElasticsearchReviewStore": "qa_system.stores.elasticsearch",
    "FAISSDocumentStore": "qa_system.stores.faiss",
}

__all__ = [
    "ElasticsearchReviewStore",
    "FAISSDocumentStore",
    "open_store",
    "store_from_dict",
    "with_store",
]


def open_store(
    settings: AnyStoreSettings, *, create: bool = False, similarity: Similarity | None = None
) -> ReviewStore:
    """Open the store that the settings name.

    Args:
        settings: where it is, and how its vectors are searched.
        create: accept that it is not there; its first write makes it.
        similarity: that of a new store whose settings leave it open (the encoder's); None takes
            the dot product. A store that is there keeps its own.

    Raises:
        StoreNotFoundError: it is not there, and `create` is False.
        StoreError: `create` is True, and its folder holds something else.
        StoreMismatchError: the settings name another similarity than the store was made with.
        InvalidArgumentError: these are no settings of a store.

    >>> import tempfile
    >>> with open_store(StoreSettings(path=tempfile.mkdtemp()), create=True) as store:
    ...     store.count_documents()
    0
    """
    match settings:
        case ElasticsearchSettings():
            return _open_elasticsearch(settings, create, similarity)
        case StoreSettings():
            return _open_faiss(settings, create, similarity)
        case _:
            raise InvalidArgumentError(
                f"settings is {settings!r:.60}, not those of a store",
                remedy="Pass StoreSettings or ElasticsearchSettings, as in load_settings().store.",
            )


def _open_faiss(
    settings: StoreSettings, create: bool, similarity: Similarity | None
) -> FAISSDocumentStore:
    from qa_system.stores.embedded.status import stored_similarity
    from qa_system.stores.faiss import FAISSDocumentStore

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
    store = FAISSDocumentStore(
        path,
        similarity=chosen,
        index=settings.index,
        gpu=settings.gpu,
        group=settings.group,
    )
    if create:
        store.check_place()
    return store


def _open_elasticsearch(
    settings: ElasticsearchSettings, create: bool, similarity: Similarity | None
) -> ElasticsearchReviewStore:
    from qa_system.stores.elasticsearch import ElasticsearchReviewStore

    given = settings.model_dump(exclude={"type"})
    store = ElasticsearchReviewStore(**given)
    stored = store.stored_similarity()
    if stored is None and not create:
        store.close()
        raise StoreNotFoundError(
            "there is no store",
            where=settings.place,
            remedy="Index reviews into it first: qa-index run with the same `store` settings.",
        )
    if stored is None and settings.similarity is None and similarity is not None:
        return ElasticsearchReviewStore(**{**given, "similarity": similarity})
    return store


def store_from_dict(data: dict[str, Any]) -> ReviewStore:
    """Make the store that a store's `to_dict` describes, whichever it is.

    Raises:
        StoreError: it is none of this package's.

    >>> from qa_system.stores import FAISSDocumentStore
    >>> type(store_from_dict(FAISSDocumentStore("never-opened").to_dict())).__name__
    'FAISSDocumentStore'
    """
    kind = data.get("type", "")
    home, _, name = kind.rpartition(".")
    if _HOMES.get(name) != home:
        raise StoreError(
            f"{kind!r} is none of the stores that these components work with",
            remedy=f"Use one of: {', '.join(_HOMES)}.",
        )
    store: ReviewStore = getattr(import_module(home), name).from_dict(data)
    return store


def with_store(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a component's `to_dict` returned, with its store made; `data` stays as it is.

    Raises:
        StoreError: the store is none of this package's.
    """
    parameters = dict(data["init_parameters"])
    if parameters.get("document_store") is not None:
        parameters["document_store"] = store_from_dict(parameters["document_store"])
    return {**data, "init_parameters": parameters}


def __getattr__(name: str) -> Any:
    # Haystack, which the stores import, takes seconds to import: `import qa_system` must not pay.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
