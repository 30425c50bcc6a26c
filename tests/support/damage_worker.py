"""A warm process that damages a file of a store and looks at what the store does about it.

Commands come as JSON lines on stdin, one reply each goes to stdout. Every trial is a child of its
own: a native parser that aborts or hangs takes only that one with it. Run by test_store_damage.py.
"""

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
from haystack.dataclasses import Document

from qa_system.errors import QASystemError
from qa_system.stores.embedded.derived import ann
from qa_system.stores.faiss import FAISSDocumentStore

DIMENSION = 8
SECONDS = 60
DRAW = random.Random(3)
WORDS = [f"word{n}" for n in range(80)]
QUESTIONS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 4))) for _ in range(50)]
EMBEDDINGS = np.random.default_rng(3).standard_normal((50, DIMENSION)).astype("f4")
EVERY = 10
"""Of the store with deletions, each tenth document is deleted."""


def documents():
    draw = random.Random("documents")
    vectors = np.random.default_rng(11).standard_normal((180, DIMENSION)).astype("f4")
    return [
        Document(
            id=f"r{n}",
            content=" ".join(draw.choices(WORDS, k=draw.randint(5, 30))),
            meta={"item_id": f"B{n % 5}", "stars": n % 5 + 1},
            embedding=vector.tolist(),
        )
        for n, vector in enumerate(vectors)
    ]


def open_store(path):
    ann.FEWEST["hnsw"] = 50
    return FAISSDocumentStore(path, similarity="cosine", index="hnsw")


def answers(store):
    found = [store.search_bm25(question, 10) for question in QUESTIONS]
    found += [store.search_by_embedding(embedding, 10) for embedding in EMBEDDINGS]
    return [[[hit.id, round(hit.score, 4)] for hit in hits] for hits in found]


def make(path, is_thinned):
    """Make a closed store of three segments, and return the answers of it and of a fresh one."""
    every = documents()
    gone = [each.id for each in every[::EVERY]] if is_thinned else []
    with open_store(path / "base") as store:
        for start in range(0, len(every), 60):
            store.write_documents(every[start : start + 60])
            store.search_bm25("word1")
        store.delete_documents(gone)
        store.search_bm25("word1")
    with open_store(path / "base") as store:
        before = answers(store)
    with open_store(path / "fresh") as store:
        store.write_documents([each for each in every if each.id not in gone])
        return [answers(store), before]


def swap(path, draw):
    others = [
        each
        for each in sorted(path.parent.iterdir())
        if each.is_file() and each != path and each.suffix not in (".lock", ".sqlite3")
    ]
    other = draw.choice(others)
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def damage(path, how, draw):
    data = bytearray(path.read_bytes())
    place = draw.randrange(len(data))
    if how in ("flip", "flips"):
        for _ in range(1 if how == "flip" else 4):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == "scribble":
        data[place : place + 64] = draw.randbytes(len(data[place : place + 64]))
    elif how == "zeros":
        data[place : place + 4096] = bytes(len(data[place : place + 4096]))
    elif how == "truncate":
        del data[place:]
    elif how == "empty":
        data = bytearray()
    elif how == "json":
        data = bytearray(draw.choice([b"{}", b"[]", b"null", b'{"generation":"x"}', b"\xff\xfe"]))
    if how == "swap":
        swap(path, draw)
    elif how == "delete":
        path.unlink()
    else:
        path.write_bytes(data)


HOW = ["flip", "flips", "scribble", "zeros", "truncate", "empty", "delete", "swap", "json"]


def judged(look, expected):
    """Return what a look at the store came to: right, wrong, a clean error or a raw one."""
    try:
        found = look()
    except QASystemError as error:
        is_clear = error.remedy is not None
        return f"{'error' if is_clear else 'RAW'}: {type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001 - Rust's panics are none of Exception
        return f"RAW {type(error).__name__}: {error}"
    return "right" if found in expected else "WRONG"


def trial(path, expected):
    """Search, verify, search again, close; then open it once more."""
    store = open_store(path)
    result = {
        "first": judged(lambda: answers(store), expected),
        "verify": judged(store.verify, [[]]),
        "after": judged(lambda: answers(store), expected),
        "close": judged(store.close, [None]),
    }
    with open_store(path) as store:
        result["again"] = judged(lambda: answers(store), expected)
        result["verify again"] = judged(store.verify, [[]])
    return result


def in_a_child(work):
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        os.close(receiver)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            reply = work()
        except BaseException as error:  # noqa: BLE001
            reply = {"died": repr(error)}
        with os.fdopen(sender, "w") as file:
            json.dump(reply, file)
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        reply = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(reply) if reply else {"died": f"status {status}"}


def run(command):
    folder = Path(command["folder"])
    if command["action"] == "make":
        reply = in_a_child(lambda: make(folder, command["is_thinned"]))
        (folder / "expected.json").write_text(json.dumps(reply))
        return {"made": isinstance(reply, list)}
    draw = random.Random(command["seed"])
    work = Path(shutil.copytree(folder / "base", folder / "work"))
    try:
        chosen = sorted(work.glob(command["pattern"]))
        path = draw.choice([each for each in chosen if each.stat().st_size] or chosen)
        damage(path, command["how"], draw)
        expected = json.loads((folder / "expected.json").read_text())
        return in_a_child(lambda: trial(work, expected))
    finally:
        shutil.rmtree(work)


def main():
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
