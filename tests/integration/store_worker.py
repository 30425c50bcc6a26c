"""A warm process that forks writers to be killed, so that a round costs no imports.

Commands come as JSON lines on stdin; what the writer is about to do, and what the store has
acknowledged, go as JSON lines to stdout. Run by test_store_crash.py and test_store_processes.py.
"""

import json
import os
import random
import sys
from pathlib import Path

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import QASystemError
from qa_system.records import EncoderIdentity
from qa_system.stores.faiss import FAISSDocumentStore

DIMENSION = 8


class Encoder:
    """Hand-computable: a passage's vector is drawn from its own text and the encoder's name."""

    def __init__(self, name, dimension=DIMENSION):
        self.identity = EncoderIdentity(name, dimension, "dot_product", f"weights of {name}")

    def encode_passages(self, texts):
        return np.stack([self.encode(text) for text in texts])

    def encode(self, text):
        seed = sum(map(ord, self.identity.name + text))
        return np.random.default_rng(seed).standard_normal(self.identity.dimension, np.float32)


def say(**message):
    os.write(1, json.dumps(message).encode() + b"\n")


def document(name, version):
    content = f"unique{name} version{version} of a review that is written again and again"
    meta = {"item_id": f"item{hash_of(name) % 7}", "review_id": name, "version": version}
    vector = np.random.default_rng(hash_of(name) + version).standard_normal(DIMENSION)
    return Document(id=name, content=content, meta=meta, embedding=vector.tolist())


def hash_of(name):
    return sum(place * ord(letter) for place, letter in enumerate(name, 1))


def write(store, seed, known):
    """Write batches of new documents, for ever."""
    random_size = random.Random(seed)
    for batch in range(1_000_000):
        names = [f"s{seed}b{batch}n{n}" for n in range(random_size.randint(1, 120))]
        say(intent="write", names=names, version=0)
        store.write_documents([document(name, 0) for name in names])
        say(done="write")


def change(store, seed, known):
    """Overwrite and delete known documents, and add a few, for ever."""
    choice = random.Random(seed)
    known = list(known)
    for version in range(1, 1_000_000):
        names = choice.sample(known, min(len(known), choice.randint(1, 60)))
        names += [f"s{seed}v{version}"]
        say(intent="write", names=names, version=version)
        store.write_documents(
            [document(name, version) for name in names], DuplicatePolicy.OVERWRITE
        )
        say(done="write")
        gone = choice.sample(known, min(len(known), choice.randint(0, 10)))
        known = [name for name in known if name not in gone]
        say(intent="delete", names=gone)
        store.delete_documents(gone)
        say(done="delete")


def embed(store, seed, known):
    """Re-embed with one encoder after another, for ever."""
    for turn in range(1_000_000):
        encoder = Encoder(f"encoder-{seed}-{turn}", dimension=4 + turn % 3)
        say(intent="embed", encoder=encoder.identity.name, dimension=encoder.identity.dimension)
        store.update_embeddings(encoder, batch_size=16)
        say(done="embed")


def hold(store, seed, known):
    """Write one document and keep the lock until stdin ends."""
    write_one = document(f"held{seed}", 0)
    store.write_documents([write_one], DuplicatePolicy.OVERWRITE)
    say(done="hold")
    sys.stdin.read()
    store.close()


def read(store, seed, known):
    """Answer, for ever, and say each time what was seen; a error is said, too."""
    while True:
        try:
            found = store.search_bm25("review", top_k=1_000_000)
            dense = store.search_by_embedding([1.0] * DIMENSION, top_k=1_000_000)
            say(count=len(found), dense=len(dense))
        except QASystemError as error:
            say(error=str(error))
            return


ACTIONS = {action.__name__: action for action in (write, change, embed, hold, read)}


def main():
    say(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                say(pid=os.getpid())
                store = FAISSDocumentStore(Path(command["path"]))
                ACTIONS[command["action"]](store, command["seed"], command.get("known", []))
            except BaseException as error:
                say(error=repr(error))
                raise
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        say(ended=True)


if __name__ == "__main__":
    main()
