"""Kill a writer at random moments of every operation that writes, and open the store again.

What was acknowledged is there, once; what was cut short is there wholly or not at all; every
search says what the ledger says, from the first one on; and opening the store is all that it
takes. docs/reliability.md has the table that 1,000 kills make.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from qa_system.stores.embedded.derived import ann
from store_operations import (
    FEWEST_FOR_INDEX,
    KINDS,
    after,
    empty_state,
    encoder_of,
    item_of,
    open_store,
    passages_of,
    text_of,
    token_of,
)

WRITER = Path(__file__).with_name("random_writer.py")
SUPPORT = Path(__file__).parents[1] / "support"
ROUNDS_OF_A_STORE = 50
OPENING = "opening"
"""Killed while it opens the store, and mends what an earlier kill has left."""


class Writer:
    """Runs `random_writer.py`, and kills the processes that it forks."""

    def __init__(self, root):
        self._process = subprocess.Popen(
            [sys.executable, str(WRITER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, SUPPORT)))},
        )
        assert "ready" in self._hear()
        self._durations = defaultdict(lambda: [0.03])

    def run_and_kill(self, path, state, kind, seed):
        """Kill a writer in the midst of an operation of a kind, or soon after it.

        Returns:
            The messages that it had sent.
        """
        moments = random.Random(seed)
        before = moments.choice([0, 0, 1, 2, 4])
        command = {"path": str(path), "state": state, "seed": seed, "kind": kind, "before": before}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        messages = [self._hear()]
        child = messages[0]["pid"]
        while (
            kind != OPENING and messages[-1].get("turn") != before and "error" not in messages[-1]
        ):
            messages.append(self._hear())
        operation = messages[-1].get("intent", {}).get("kind", OPENING)
        usual = self._durations[operation]
        time.sleep(moments.uniform(0, 1.5 * sum(usual) / len(usual)))
        with suppress(ProcessLookupError):  # it has failed, and said so
            os.kill(child, signal.SIGKILL)
        while "ended" not in messages[-1]:
            messages.append(self._hear())
        self._learn(messages[:-1])
        return messages[1:-1]

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _hear(self):
        return json.loads(self._process.stdout.readline())

    def _learn(self, messages):
        for begun, ended in pairwise(messages):
            seconds = ended["at"] - begun["at"]
            if "opened" in ended:
                self._durations[OPENING].append(seconds)
            elif "done" in ended:
                self._durations[begun["intent"]["kind"]].append(seconds)


class Tally:
    """What was killed, and what had become of it."""

    def __init__(self):
        self.acknowledged = Counter()
        self.done, self.undone, self.between = Counter(), Counter(), Counter()

    def table(self):
        lines = [
            "| killed during | kills | done wholly | not at all | acknowledged before |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for kind in (*KINDS, OPENING):
            counts = self.done[kind], self.undone[kind]
            row = (sum(counts) + self.between[kind], *counts, self.acknowledged[kind])
            lines.append(f"| {kind} | " + " | ".join(f"{number:,}" for number in row) + " |")
        kills = self.done.total() + self.undone.total() + self.between.total()
        lines.append(
            f"| all | {kills:,} | {self.done.total():,} | {self.undone.total():,} | "
            f"{self.acknowledged.total():,} |"
        )
        return "\n".join(lines)


def follow(messages, state, tally):
    """Return the state after all that was acknowledged, and the operation that was cut short."""
    assert not [message for message in messages if "error" in message], messages
    cut_short = None
    for message in messages:
        if "intent" in message:
            cut_short = message["intent"]
        elif "done" in message:
            state = after(cut_short, state)
            tally.acknowledged[cut_short["kind"]] += 1
            cut_short = None
    return state, cut_short


def content_of(store):
    """Return what is in a store, as `expected_content` says it."""
    documents = store.filter_documents()
    names = [document.id for document in documents]
    assert len(names) == len(set(names)) == store.count_documents()
    labels = store.get_labels_aggregated(by_item=False)
    encoder = store.encoder
    return {
        "documents": {one.id: (one.meta["version"], one.meta["note"]) for one in documents},
        "texts": all(one.content == text_of(one.id, one.meta["version"]) for one in documents),
        "labels": sorted((label.question_id, label.review_id) for label in labels),
        "encoder": None if encoder is None else encoder.name,
    }


def expected_content(state):
    return {
        "documents": {n: (one["version"], one["note"]) for n, one in state["documents"].items()},
        "texts": True,
        "labels": sorted(tuple(label) for label in state["labels"]),
        "encoder": state["encoder"] if state["bound"] else None,
    }


def check_words(store, state, chosen, gone):
    """Ask for words of some reviews, of their earlier versions, and of reviews that are no more."""
    documents = state["documents"]
    some = chosen.sample(sorted(documents), min(len(documents), 8))
    words = [token_of(name, documents[name]["version"]) for name in some]
    stale = [token_of(n, documents[n]["version"] - 1) for n in documents if documents[n]["version"]]
    stale += [token_of(name, version) for name in gone for version in range(2)]
    words += chosen.sample(stale, min(len(stale), 8))
    if words:
        found = [hit.id for hit in store.search_bm25(" ".join(words), top_k=50)]
        assert sorted(found) == sorted(some)


def check_vectors(store, state, chosen):
    """Ask for the nearest reviews of one item, and compare with the vectors themselves."""
    documents, encoder = state["documents"], encoder_of(state)
    if not documents:
        return
    name = chosen.choice(sorted(documents))
    item, embeddings = item_of(name), {}
    for other, known in documents.items():
        whole = [text_of(other, known["version"])]
        texts = passages_of(other, known["version"]) if known["passages"] else whole
        embeddings[other] = encoder.encode_passages(texts)
    query = embeddings[name][0]
    scores = {
        other: float(
            (matrix @ query / np.linalg.norm(matrix, axis=1)).max() / np.linalg.norm(query)
        )
        for other, matrix in embeddings.items()
    }
    only = {"field": "meta.item_id", "operator": "==", "value": item}
    found = store.search_by_embedding(query, top_k=10, filters=only)
    expected = sorted((s for n, s in scores.items() if item_of(n) == item), reverse=True)[:10]
    assert [hit.score for hit in found] == pytest.approx(expected, abs=1e-5)
    assert all(hit.score == pytest.approx(scores[hit.id], abs=1e-5) for hit in found)
    [nearest] = store.search_by_embedding(query, top_k=1)
    assert scores[nearest.id] == pytest.approx(1, abs=1e-5)
    note = {"field": "meta.note", "operator": "==", "value": documents[name]["note"]}
    same = sum(known["note"] == documents[name]["note"] for known in documents.values())
    assert store.count_documents_by_filter(note) == same


def check_sentences(store, state, chosen):
    """Ask an item for every sentence, and compare with the embeddings themselves."""
    documents, encoder = state["documents"], encoder_of(state)
    assert store.status().sentences == sum(one["divided"] for one in documents.values())
    if not documents:
        return
    name = chosen.choice(sorted(documents))
    item, query = item_of(name), encoder.encode(f"a question about {name}")

    def cosine(text):
        embedding = encoder.encode(text)
        return float(embedding @ query / np.linalg.norm(embedding) / np.linalg.norm(query))

    expected = {}
    for other, known in documents.items():
        if item_of(other) == item:
            passages = passages_of(other, known["version"])
            whole = text_of(other, known["version"])
            own = passages if known["passages"] else [whole]
            near = max(map(cosine, own))
            scores = [cosine(text) if known["divided"] else near for text in passages]
            expected[other] = dict(zip((0, len(passages[0]) + 1), scores, strict=True))
    only = {"field": "meta.item_id", "operator": "==", "value": item}
    ranking = store.search_sentences("?", query, top_k=10_000, filters=only, bm25_weight=0.0)
    found = {
        document.id: {one.start: one.score for one in each}
        for document, each in zip(ranking.documents, ranking.sentences, strict=True)
    }
    assert found.keys() == expected.keys()
    for other, scores in expected.items():
        assert found[other] == pytest.approx(scores, abs=0.02)


def check(path, state, intent, seed, gone, tally):
    """Open the store, search, and return the state that it is in."""
    chosen = random.Random(seed)
    with open_store(path, state) as store:
        found = content_of(store)
        if intent is not None:
            then = after(intent, state)
            changes = expected_content(then) != expected_content(state)
            is_done = changes and found == expected_content(then)
            (tally.done if is_done else tally.undone)[intent["kind"]] += 1
            state = then if is_done else state
        assert found == expected_content(state)
        check_words(store, state, chosen, gone)
        check_vectors(store, state, chosen)
        check_sentences(store, state, chosen)
        assert store.verify() == []
        check_words(store, state, chosen, gone)
    return state


def kill_at_random(root, folder, kills):
    """Kill so often; return what was killed and what had become of it."""
    tally, chosen, writer = Tally(), random.Random(17), Writer(root)
    state, path, gone = empty_state(), folder / "store", set()
    kinds = []
    try:
        for turn in range(kills):
            if turn % ROUNDS_OF_A_STORE == 0:
                state, path, gone = empty_state(), folder / f"store{turn}", set()
            if not kinds:
                kinds = chosen.sample(KINDS, len(KINDS))
            kind, was = kinds.pop(), state
            state, intent = follow(writer.run_and_kill(path, state, kind, turn), state, tally)
            if intent is None:
                tally.between[kind] += 1
            if chosen.random() < 0.3:
                follow(writer.run_and_kill(path, state, OPENING, turn), state, tally)
                tally.between[OPENING] += 1
            state = check(path, state, intent, turn, gone, tally)
            gone = {*gone, *was["documents"]} - set(state["documents"])
    finally:
        writer.close()
    return tally


@pytest.fixture
def small_indexes(monkeypatch):
    monkeypatch.setattr(ann, "FEWEST", dict.fromkeys(ann.FEWEST, FEWEST_FOR_INDEX))


@pytest.mark.slow
def test_thirty_kills_lose_nothing(root, tmp_path, small_indexes):
    tally = kill_at_random(root, tmp_path, 30)
    assert tally.done.total() + tally.undone.total() > 10


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_thousand_kills_lose_nothing(root, tmp_path, small_indexes, capsys):
    tally = kill_at_random(root, tmp_path, 1_000)
    with capsys.disabled():
        print(f"\n{tally.table()}")
