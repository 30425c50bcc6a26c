"""The generation of either store: it changes with what a search finds, and with nothing else."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from haystack import Document
from haystack.document_stores.types import DuplicatePolicy

from indexing.job import run_job
from qa_system.config import load_settings
from serving import serving


def test_every_write_has_a_generation_of_its_own(
    store: Any, make_store: Callable[..., Any]
) -> None:
    one = Document(id="a", content="Loud.", meta={"item_id": "x"})
    other = make_store(similarity="cosine")
    seen = []

    def note() -> None:
        found = store.read_generation()
        store.filter_documents()
        store.search_bm25("loud")
        assert store.read_generation() == other.read_generation() == found
        seen.append(found)

    store.write_documents([one])
    note()
    store.write_documents([Document(id="b", content="Quiet.", meta={"item_id": "x"})])
    note()
    store.write_documents([Document(id="a", content="Very loud.")], DuplicatePolicy.OVERWRITE)
    note()
    store.update_by_filter({"field": "id", "operator": "==", "value": "b"}, {"stars": 3})
    note()
    store.delete_documents(["b"])
    note()
    numbers = [each.number for each in seen]
    assert len(set(seen)) == 5
    assert numbers == sorted(numbers)


def test_a_served_answer_is_no_older_than_the_poll(elasticsearch_url: str, tmp_path: Path) -> None:
    place = f"{elasticsearch_url}/test-serve-{uuid4().hex[:8]}"
    source = tmp_path / "reviews.csv"
    settings = load_settings(
        None,
        {
            "store": place,
            "store.replicas": 0,
            "indexing.sources": [str(source)],
            "indexing.state": str(tmp_path / "state"),
        },
        environ={},
    )

    def index(text: str) -> None:
        source.write_text(f"review_id,item_id,text\nr1,lamp,{text}\nr2,lamp,It came in a box.\n")
        run_job(settings)

    index("The hinge squeaks.")
    try:
        with serving(tmp_path, "--store", place, "--set", "serving.poll_seconds=0.5") as server:
            asked = {"question": "How is the hinge?", "item_id": "lamp"}
            until_cached(lambda: server.ask(**asked).headers["x-cache"] == "hit")
            before = server.ask(**asked).json()
            index("The hinge is quiet and strong.")
            time.sleep(1.5)  # the poll, and the second that a refresh may take
            after = server.ask(**asked)
            assert after.json()["generation"] > before["generation"]
            assert after.headers["x-cache"] == "miss"
            assert server.client.get("/v1/items/lamp/reviews/r1").json()["content"] == (
                "The hinge is quiet and strong."
            )
            until_cached(lambda: server.ask(**asked).headers["x-cache"] == "hit")
    finally:
        from elasticsearch import Elasticsearch

        address = urlsplit(place)
        with Elasticsearch(elasticsearch_url) as client:
            found = client.indices.get(index=f"{address.path.strip('/')}*", features="aliases")
            client.indices.delete(index=list(found.body))


def until_cached(hit: Callable[[], bool]) -> None:
    for _ in range(100):
        if hit():
            return
        time.sleep(0.1)
    raise AssertionError("it is never cached")
