"""Every operation that writes to a store, drawn at random, and what must be in the store after it.

An operation is a JSON object, and so is the state: both go through a pipe to a process that is
killed. `after` says what an operation makes of a state, without a store; `perform` does it.
"""

from __future__ import annotations

import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from qa_system.records import AnswerSpan, EncoderIdentity, Label
from qa_system.stores.embedded import folder
from qa_system.stores.embedded.derived import ann
from qa_system.stores.embedded.sentences import files
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.writes import Passages, Sentences
from qa_system.texts.sentences import sentences

ITEMS = 7
MOST = 300
"""Reviews above which an operation that deletes is drawn instead of one that adds."""
INDEXES = ("flat", "hnsw", "ivf_flat", "sq8")
FEWEST_FOR_INDEX = 80
"""Vectors from which approximate indexes are built here, so that small stores have them."""
KINDS = (
    "write",
    "update",
    "split",
    "delete",
    "delete item",
    "metadata",
    "embed",
    "index kind",
    "labels",
    "delete labels",
    "rebuild",
    "close",
    "clear",
    "forget",
)
OFTEN = {"write": 5, "update": 3, "split": 3, "delete": 2, "clear": 0.1}
"""How often a kind is drawn, compared with 1."""

State = dict[str, Any]
Operation = dict[str, Any]


class Encoder:
    """A text's embedding is drawn from its bytes and the encoder's name."""

    def __init__(self, name: str, dimension: int) -> None:
        self.identity = EncoderIdentity(name, dimension, "cosine", f"weights of {name}")

    def encode_passages(self, texts: Any) -> NDArray[np.float32]:
        return np.stack([self.encode(text) for text in texts])

    def encode(self, text: str) -> NDArray[np.float32]:
        seed = zlib.crc32(f"{self.identity.name} {text}".encode())
        return np.random.default_rng(seed).standard_normal(self.identity.dimension, np.float32)


def encoder_of(state: State) -> Encoder:
    return Encoder(state["encoder"], state["dimension"])


def empty_state() -> State:
    return {
        "documents": {},
        "labels": [],
        "encoder": "encoder-0",
        "dimension": 8,
        "bound": False,
        "index": "flat",
    }


def allow_small_indexes() -> None:
    """Build approximate indexes over few vectors, and copy few sentences, in this process."""
    files.FEWEST_DEAD = folder.FORGOTTEN_AT = FEWEST_FOR_INDEX
    for kind in ann.FEWEST:
        ann.FEWEST[kind] = FEWEST_FOR_INDEX


def open_store(path: Path, state: State) -> FAISSDocumentStore:
    return FAISSDocumentStore(path, similarity="cosine", index=state["index"])


def item_of(name: str) -> str:
    return f"item{zlib.crc32(name.encode()) % ITEMS}"


def token_of(name: str, version: int) -> str:
    """Spell the word that one version of one review has, and no other."""
    return f"only{name}v{version}"


def passages_of(name: str, version: int) -> list[str]:
    return [
        f"{token_of(name, version)} is a review that is written again and again.",
        f"Its second passage is of {name}, version {version}.",
    ]


def text_of(name: str, version: int) -> str:
    return " ".join(passages_of(name, version))


def spans_of(name: str, version: int) -> list[tuple[int, int]]:
    first, second = passages_of(name, version)
    return [(0, len(first)), (len(first) + 1, len(first) + 1 + len(second))]


def sentences_of(text: str, encoder: Encoder) -> Sentences:
    spans = sentences(text)
    return Sentences(spans, encoder.encode_passages([text[start:end] for start, end in spans]))


def document_of(name: str, version: int, note: int, encoder: Encoder | None) -> Document:
    text = text_of(name, version)
    meta = {"item_id": item_of(name), "review_id": name, "version": version, "note": note}
    embedding = None if encoder is None else encoder.encode(text).tolist()
    return Document(id=name, content=text, meta=meta, embedding=embedding)


def label_of(question_id: str, review_id: str) -> Label:
    text = text_of(review_id, 0)
    word = text.split()[0]
    return Label(
        question_id,
        f"What is {question_id}?",
        item_of(review_id),
        review_id,
        text,
        (AnswerSpan(word, 0, len(word)),),
        split="train",
    )


def draw(kind: str, state: State, chosen: random.Random, name: str) -> Operation:
    """Draw an operation of a kind.

    Args:
        kind: one of `KINDS`; one that adds may become one that deletes, and one that needs
            reviews becomes a `write` where there are none.
        state: what is in the store.
        chosen: makes the choices.
        name: begins the ids of new reviews and questions; no other operation has it.
    """
    known = sorted(state["documents"])
    if kind in ("write", "split") and len(known) > MOST:
        kind = "delete item"
    if kind in ("update", "delete", "delete item", "metadata", "forget") and not known:
        kind = "write"
    some = chosen.sample(known, min(len(known), chosen.randint(1, 30)))
    fresh = [f"{name}n{number}" for number in range(chosen.randint(1, 40))]
    note = chosen.randrange(1, 10**9)
    details: dict[str, Any] = {
        "write": {"names": fresh},
        "update": {"names": some},
        "split": {"names": [*fresh[:10], *some[:10]], "stale": some[10:15]},
        "delete": {"names": some},
        "delete item": {"item": item_of(some[0]) if some else ""},
        "metadata": {"item": item_of(some[0]) if some else "", "note": note},
        "embed": {"encoder": f"encoder-{note}", "dimension": chosen.choice([4, 6, 8])},
        "index kind": {"index": chosen.choice(INDEXES)},
        "labels": {"labels": [[one, chosen.choice(known or fresh)] for one in fresh[:10]]},
        "delete labels": {"item": f"item{chosen.randrange(ITEMS)}"},
        "rebuild": {"parts": chosen.sample(["lexical", "vectors", "ann"], chosen.randint(1, 3))},
        "forget": {"names": some[:5]},
    }
    return {"kind": kind, **details.get(kind, {})}


def after(operation: Operation, state: State) -> State:
    """Return the state that an operation makes of another."""
    kind = operation["kind"]
    documents = dict(state["documents"])
    if kind in ("write", "update", "split"):
        for name in operation["names"]:
            version = documents[name]["version"] + 1 if name in documents else 0
            documents[name] = {
                "version": version,
                "note": 0,
                "passages": kind == "split",
                "divided": kind == "write",
            }
        gone = set(operation.get("stale", ()))
    elif kind in ("delete", "forget"):
        gone = set(operation["names"])
    elif kind == "delete item":
        gone = {name for name in documents if item_of(name) == operation["item"]}
    elif kind == "clear":
        gone = set(documents)
    else:
        gone = set()
    if kind == "metadata":
        for name, known in documents.items():
            if item_of(name) == operation["item"]:
                documents[name] = {**known, "note": operation["note"]}
    changed = {"documents": {name: one for name, one in documents.items() if name not in gone}}
    labels = state["labels"]
    if kind == "labels":
        changed["labels"] = [*labels, *operation["labels"]]
    elif kind == "delete labels":
        changed["labels"] = [one for one in labels if item_of(one[1]) != operation["item"]]
    elif kind == "forget":
        changed["labels"] = [one for one in labels if one[1] not in gone]
    elif kind == "embed":
        changed |= {"encoder": operation["encoder"], "dimension": operation["dimension"]}
        changed |= {"bound": True}
        divided = {name: {**one, "divided": True} for name, one in documents.items()}
        changed["documents"] = divided
    elif kind == "index kind":
        changed["index"] = operation["index"]
    return {**state, **changed}


def perform(
    store: FAISSDocumentStore, operation: Operation, state: State, path: Path
) -> FAISSDocumentStore:
    """Do an operation in a store whose state is known; return the store, which may be another."""
    kind, item = operation["kind"], operation.get("item")
    of_item = {"field": "meta.item_id", "operator": "==", "value": item}
    then = after(operation, state)
    encoder = encoder_of(state)
    if kind in ("write", "update"):
        documents = [
            document_of(name, then["documents"][name]["version"], 0, encoder)
            for name in operation["names"]
        ]
        if kind == "update":
            store.write_documents(documents, DuplicatePolicy.OVERWRITE)
        else:
            divided = {one.id: sentences_of(one.content or "", encoder) for one in documents}
            store.replace(documents, [], sentences=divided)
    elif kind == "split":
        versions = {
            name: then["documents"].get(name, {"version": 0})["version"]
            for name in operation["names"]
        }
        store.replace(
            [document_of(name, version, 0, None) for name, version in versions.items()],
            operation["stale"],
            {
                name: Passages(
                    spans_of(name, version), encoder.encode_passages(passages_of(name, version))
                )
                for name, version in versions.items()
            },
        )
    elif kind == "delete":
        store.delete_documents(operation["names"])
    elif kind == "delete item":
        store.delete_by_filter(of_item)
    elif kind == "metadata":
        store.update_by_filter(of_item, {"note": operation["note"]})
    elif kind == "clear":
        store.delete_all_documents()
    elif kind == "forget":
        store.forget(operation["names"])
    elif kind == "embed":
        store.update_embeddings(encoder_of(then), batch_size=16)
    elif kind == "labels":
        store.write_labels(label_of(*one) for one in operation["labels"])
    elif kind == "delete labels":
        store.delete_labels(item_id=item)
    elif kind == "index kind":
        store.close()
        store = open_store(path, then)
        store.build_index()
    elif kind == "rebuild":
        store.close()
        for found in list(path.glob("*")):
            if found.name.startswith(tuple(operation["parts"])):
                shutil.rmtree(found) if found.is_dir() else found.unlink()
        assert store.verify() == []
    elif kind == "close":
        store.close()
    return store
