"""The label index: labelled questions in an index of their own, beside the documents' versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from qa_system.labels import decode_label, encode_label
from qa_system.records import Label
from qa_system.stores.elastic.bulk import Action, BulkWriter, delete_selected
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.search import pages

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["MAPPINGS", "actions", "count", "delete", "select"]

MAPPINGS: Final[dict[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "split": {"type": "keyword"},
        "item_id": {"type": "keyword"},
        "written": {"type": "long"},
        "label": {"type": "keyword", "index": False, "doc_values": False},
    },
}


def actions(labels: Iterable[Label], first: int) -> list[Action]:
    """Encode labels, each under the digest of all that it holds.

    Args:
        labels: as they were read.
        first: the stamp of the first; the next have the next.

    Raises:
        DataError: a label cannot be written; none has been.
    """
    made: dict[str, Action] = {}
    for number, label in enumerate(labels, first):
        encoded = encode_label(label)
        digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
        if digest in made:
            continue
        source = {
            "split": label.split,
            "item_id": label.item_id,
            "written": number,
            "label": encoded.decode(),
        }
        made[digest] = Action("create", digest, orjson.dumps(source), number)
    return list(made.values())


def select(
    client: Elasticsearch, index: str, split: str | None, item_id: str | None
) -> Iterator[Label]:
    """Stream labels in the order in which they were written."""
    for hit in pages(client, index, _query(split, item_id), ["label"]):
        yield decode_label(hit["_source"]["label"])


def count(client: Elasticsearch, index: str, split: str | None, item_id: str | None) -> int:
    """Count labels."""
    with explained(index):
        return int(client.count(index=index, query=_query(split, item_id))["count"])


def delete(writer: BulkWriter, split: str | None, item_id: str | None) -> int:
    """Delete labels, and give their number."""
    return delete_selected(writer, _query(split, item_id))


def _query(split: str | None, item_id: str | None) -> dict[str, Any]:
    asked = {"split": split, "item_id": item_id}
    terms = [{"term": {field: value}} for field, value in asked.items() if value is not None]
    return {"bool": {"filter": terms}} if terms else {"match_all": {}}
