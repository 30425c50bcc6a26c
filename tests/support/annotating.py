"""`qa annotate` as a process of its own, on a small store of made-up reviews."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from typer.testing import CliRunner

from indexing.job import run_job
from qa_system.cli import app
from qa_system.config import load_settings
from serving import address_in, running

BRIGHT = "Is it bright enough to read by?"
NOISE = "Does it buzz?"
HOSTILE = (
    "😀 </script><img src=x onerror=\"document.title='owned'\"> It is bright enough to read by."
    " <b>Buy</b> it 😀 \u202e."
)
REVIEWS = {
    "r1": "I use it every night. It is bright enough to read by, and warm. The arm is short.",
    "r2": "Far too dim to read by. The cable is fine, and it does not buzz at all.",
    "r3": "It came quickly. My desk is small, so it fits. No complaints about the box.",
    "r4": HOSTILE,
}


def make_store(folder: Path) -> Path:
    """A store with four reviews of a lamp, and a file of two questions beside it."""
    rows = [{"review_id": r, "item_id": "lamp", "review": text} for r, text in REVIEWS.items()]
    (folder / "reviews.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "questions.csv").write_text(f"question,item_id\n{BRIGHT},lamp\n{NOISE},lamp\n")
    source = str(folder / "reviews.jsonl")
    place = {"store.path": str(folder / "store"), "indexing.sources": [source]}
    run_job(load_settings(None, place, environ={}))
    return folder / "store"


class Annotating:
    """A running `qa annotate`.

    Args:
        process: it.
        pages: an address for each annotator.
    """

    def __init__(self, process: subprocess.Popen[str], pages: list[str]) -> None:
        self.process = process
        self.pages = pages

    def client(self, number: int = 0) -> httpx.Client:
        """An annotator's client of the API."""
        parts = urlsplit(self.pages[number])
        bearer = {"Authorization": f"Bearer {parts.fragment.removeprefix('token=')}"}
        return httpx.Client(base_url=f"http://{parts.netloc}/v1", headers=bearer, timeout=30)


@contextmanager
def annotating(store: Path, *arguments: str | Path, annotators: int = 1) -> Iterator[Annotating]:
    """Annotate the questions beside a store until the block is left."""
    named = [part for number in range(annotators) for part in ("--annotator", f"a{number}")]
    questions = ("--questions", store.parent / "questions.csv")
    log = store.parent / "annotate.log"
    with running(log, ("annotate", "--store", store, *questions, *named, *arguments)) as process:
        yield Annotating(process, [address_in(process, log) for _ in range(annotators)])


def annotate(store: Path, *arguments: str | Path) -> Any:
    """What a call that only looks prints."""
    done = CliRunner().invoke(app, ["annotate", "--store", *map(str, (store, *arguments))])
    assert done.exit_code == 0, done.output
    return done.stdout
