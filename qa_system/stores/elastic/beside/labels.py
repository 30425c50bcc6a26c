"""The label index: labelled questions in an index of their own, beside the documents' versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import orjson

from qa_system.labels import decode_label, encode_label
from qa_system.records import Label
from qa_system.stores.elastic.bulk import Action, delete_selected
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.filters import ALL
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.search import pages
from qa_system.stores.elastic.versions.aliases import base_of, create
from qa_system.stores.writes import DocumentsRejectedError

__all__ = ["LabelIndex"]

_MAPPINGS: Final[dict[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "split": {"type": "keyword"},
        "item_id": {"type": "keyword"},
        "written": {"type": "long"},
        "label": {"type": "keyword", "index": False, "doc_values": False},
    },
}


class LabelIndex:
    """The labels of one store, whatever version of its documents is read.

    Args:
        at: the store's documents, whose server and settings these labels share.
    """

    def __init__(self, at: ElasticIndex) -> None:
        self._at = at
        self.name = f"{base_of(at.name)}-labels"

    def write(self, labels: Iterable[Label]) -> int:
        """Write labels, and return the number of those that were not there yet.

        Args:
            labels: as they were read; all are encoded before one is sent.

        Raises:
            DataError: a label cannot be written; none has been.
            DocumentsRejectedError: the server did not take some of them.
        """
        # A number that none of them reaches: the next write's are higher anyway.
        encoded = _actions(labels, self._at.stamps(1_000_000))
        if not encoded:
            return 0
        if not self.exists():
            settings = self._at.new.settings() | {"number_of_shards": 1}
            create(self._at.client, self.name, self._at.where, _MAPPINGS, settings)
        report = self._at.writer(self.name).write(encoded)
        with explained(self._at.where):
            self._at.client.indices.refresh(index=self.name)
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.written, self.name)
        return report.written

    def select(self, split: str | None, item_id: str | None) -> Iterator[Label]:
        """Stream labels in the order in which they were written."""
        if self.exists():
            for hit in pages(self._at.client, self.name, _query(split, item_id), ["label"]):
                yield decode_label(hit["_source"]["label"])

    def count(self, split: str | None, item_id: str | None) -> int:
        """Count labels."""
        if not self.exists():
            return 0
        with explained(self.name):
            found = self._at.client.count(index=self.name, query=_query(split, item_id))
        return int(found["count"])

    def delete(self, split: str | None, item_id: str | None) -> int:
        """Delete labels, and return their number."""
        if not self.exists():
            return 0
        return delete_selected(self._at.writer(self.name), _query(split, item_id))

    def delete_equal(self, labels: Iterable[Label]) -> None:
        """Delete the labels that are equal to these."""
        if self.exists():
            self._delete(_digest(encode_label(label)) for label in labels)
            with explained(self._at.where):
                self._at.client.indices.refresh(index=self.name)

    def delete_of_reviews(self, review_ids: Sequence[str]) -> int:
        """Delete the labels whose gold review is one of these, and return their number."""
        if not self.exists():
            return 0
        chosen = set(review_ids)
        return self._delete(
            hit["_id"]
            for hit in pages(self._at.client, self.name, None, ["label"])
            if decode_label(hit["_source"]["label"]).review_id in chosen
        )

    def _delete(self, digests: Iterable[str]) -> int:
        found = (Action("delete", digest) for digest in digests)
        report = self._at.writer(self.name).write(found)
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.deleted, self.name)
        return report.deleted

    def exists(self) -> bool:
        """Tell whether labels were ever written."""
        with explained(self._at.where):
            return bool(self._at.client.indices.exists(index=self.name))


def _actions(labels: Iterable[Label], first: int) -> list[Action]:
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
        digest = _digest(encoded)
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


def _digest(encoded: bytes) -> str:
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def _query(split: str | None, item_id: str | None) -> dict[str, Any]:
    asked = {"split": split, "item_id": item_id}
    terms = [{"term": {field: value}} for field, value in asked.items() if value is not None]
    return {"bool": {"filter": terms}} if terms else ALL
