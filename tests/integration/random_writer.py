"""A warm process that forks writers to be killed; see test_random_kills.py.

Commands come as JSON lines on stdin. What a writer is about to do, and what the store has
acknowledged, go as JSON lines to stdout.
"""

import json
import os
import random
import signal
import sys
import time
from itertools import count
from pathlib import Path

from store_operations import KINDS, OFTEN, after, allow_small_indexes, draw, open_store, perform


def say(**message):
    os.write(1, json.dumps({**message, "at": time.monotonic()}).encode() + b"\n")


def work(command):
    """Do some operations, then the one that is asked for, then others, for ever."""
    path, state, chosen = Path(command["path"]), command["state"], random.Random(command["seed"])
    weights = [OFTEN.get(kind, 1) for kind in KINDS]
    store = open_store(path, state)
    store.verify()
    say(opened=True)
    if command["kind"] not in KINDS:
        signal.pause()
    for turn in count():
        [kind] = chosen.choices(KINDS, weights)
        if turn == command["before"]:
            kind = command["kind"]
        operation = draw(kind, state, chosen, f"s{command['seed']}t{turn}")
        say(intent=operation, turn=turn)
        store = perform(store, operation, state, path)
        say(done=True)
        state = after(operation, state)


def main():
    allow_small_indexes()
    say(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                say(pid=os.getpid())
                work(command)
            except BaseException as error:
                say(error=repr(error))
                raise
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        say(ended=True)


if __name__ == "__main__":
    main()
