"""An index that version 0.1.0 made: read as it is, and upgraded when it is written to."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson
import pytest
from elasticsearch.helpers import bulk
from haystack.dataclasses import Document

from filter_oracle import selects
from indexing.job import run_job
from qa_system.config import EncoderSettings, load_settings
from qa_system.errors import StoreMismatchError
from qa_system.records import EncoderIdentity, Review
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores.elastic.documents import encode
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.filters import InvalidFilterError
from qa_system.texts.passages import hash_of, split
from qa_system.ties import tie_breaker

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "v0_1_0"
KILLS = 6
ROWS = [json.loads(line) for line in (FIXTURE / "reviews.jsonl").read_text().splitlines()]
IN_PASSAGES = {"long-1": 17, "long-2": 11, "long-3": 5, "victim": 6}
GUESSED = {"victim"}
"""The first begins with white space of two kinds; the second's first passage was overwritten."""


def of(field, value):
    return {"field": field, "operator": "==", "value": value}


def ids(documents):
    return [document.id for document in documents]


def format_of(store):
    state = store._at.state(fresh=True)
    return state.format


@pytest.fixture
def put(elastic_store):
    """Puts indexes as version 0.1.0 had them on the server, and opens the store."""

    def put(dumped, **options):
        store = elastic_store(**options)
        client = store._at.client
        for name, index in dumped.items():
            version = name.replace("v010", store.index)
            aliases = {store.index: {}} if index["aliases"] else {}
            settings = {"number_of_replicas": 0, **index.get("settings", {})}
            client.indices.create(
                index=version, mappings=index["mappings"], aliases=aliases, settings=settings
            )
            bulk(
                client,
                (
                    {"_index": version, "_id": name, "_source": source}
                    for name, source in index["documents"]
                ),
                refresh=True,
            )
        return store

    return put


@pytest.fixture(scope="module")
def dumped():
    with gzip.open(FIXTURE / "index.json.gz") as file:
        return json.load(file)


def sources(store):
    """What the server has, as it has it."""
    found = store._at.client.search(index=store.index, size=10_000, query={"match_all": {}})
    return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}


def test_it_is_read_as_it_is(put, dumped):
    store = put(dumped)
    documents = dict(dumped["v010-v1"]["documents"])
    assert store.count_documents() == store.status().embedded == len(documents)
    assert store.verify() == []
    assert set(ids(store.filter_documents())) == set(documents)
    assert ids(store.filter_documents(of("meta.review_id", "long-3"))) == [
        f"long-3#{n}" for n in range(5)
    ]
    hits = store.search_bm25("Is the light bright?", 3, of("meta.item_id", "lamp"))
    assert "bright" in hits[0].content
    vector = documents["long-1#3"]["embedding"]
    for filters in (None, of("meta.item_id", "lamp")):
        # Passages with the same words are as near.
        assert "long-1#3" in ids(store.search_by_embedding(vector, 10, filters))
    assert store.documents_of_reviews(["victim"]).keys() == {"victim"}
    assert store.count_labels() == 2
    assert store.encoder == load_encoder(EncoderSettings()).identity
    assert format_of(store) == 1
    assert sources(store) == documents


def check_upgraded(store, dumped):
    documents = dict(dumped["v010-v1"]["documents"])
    rows = {row["review_id"]: row for row in ROWS}
    assert format_of(store) == 3
    assert store.verify() == []
    found = {each.id: each for each in store.filter_documents()}
    assert found.keys() == {*rows, "kinds"}
    for name, row in rows.items():
        document = found[name]
        own = {key: value for key, value in row.items() if key != "text"}
        assert document.meta.items() >= own.items()
        assert (document.embedding is None) == (name in IN_PASSAGES)
        if name not in GUESSED:
            assert document.content == row["text"]
        else:
            assert document.content.split() == row["text"].split()[-len(document.content.split()) :]
            assert document.meta["content_hash"].endswith(":joined")
    assert found["victim"].content.startswith(" " * 41 + "hot for hours.")
    for name, source in documents.items():
        if name in found and name != "kinds":
            assert found[name].meta == source["meta"]
    for name, number in IN_PASSAGES.items():
        for passage in range(name == "victim", number + (name == "victim")):
            source = documents[f"{name}#{passage}"]
            chosen = of("id", name)
            [hit] = store.search_by_embedding(source["embedding"], 5, chosen)
            assert hit.score == pytest.approx(1.0, abs=1e-4)
            text = hit.content[hit.meta["passage_start"] : hit.meta["passage_end"]]
            assert text == source["content"]
    assert store.count_labels() == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.write_documents([]) or store.delete_documents(["nobody"]),
        lambda store: store.loading().__enter__(),
        lambda store: store.bind_encoder(store.encoder),
        lambda store: store.update_by_filter(of("id", "nobody"), {"a": 1}),
        lambda store: store.delete_by_filter(of("id", "nobody")),
        lambda store: store.replace([], ["nobody"]),
    ],
    ids=["delete", "loading", "bind", "update", "delete by filter", "replace"],
)
def test_a_write_upgrades_it(put, dumped, write, caplog):
    store = put(dumped)
    kinds = store.filter_documents(of("id", "kinds"))
    order = ids(store.filter_documents())
    with caplog.at_level("INFO"):
        write(store)
    check_upgraded(store, dumped)
    assert store.filter_documents(of("id", "kinds")) == kinds
    assert "4 reviews that were kept as passages are whole again" in caplog.text
    assert "of 1 reviews not every character was kept" in caplog.text
    # Each review stands where its first passage stood.
    expected = dict.fromkeys(
        name if name.endswith("#0") and name.startswith("victim") else name.split("#")[0]
        for name in order
    )
    assert ids(store.filter_documents()) == list(expected)
    caplog.clear()
    with caplog.at_level("INFO"):
        write(store)
    assert "whole again" not in caplog.text


def test_the_job_run_again_writes_only_what_was_not_known(put, dumped, elasticsearch_url, tmp_path):
    store = put(dumped)
    settings = {
        "store.type": "elasticsearch",
        "store.url": elasticsearch_url,
        "store.index": store.index,
        "store.replicas": 0,
        "indexing.state": str(tmp_path / "state"),
    }

    def run(rows, **more):
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = {**settings, "indexing.sources": [str(source)], **more}
        return run_job(load_settings(None, given, environ={})).counts

    long = [row for row in ROWS if row["review_id"] in IN_PASSAGES]
    short = [row for row in ROWS if row not in long]
    passages = {"indexing.passages.max_words": 12, "indexing.passages.overlap_words": 3}
    for updated in (len(GUESSED), 0):
        counts = run(long, **passages)
        assert (counts.updated, counts.unchanged) == (updated, len(long) - updated)
        counts = run(short)
        assert (counts.written, counts.unchanged) == (0, len(short))
    assert {each.id: each.content for each in store.filter_documents()} == {
        "kinds": "All kinds of metadata.",
        **{row["review_id"]: row["text"] for row in ROWS},
    }
    assert store.verify() == []


FILTERS = [
    {"field": "meta.stars", "operator": ">=", "value": 4},
    {"field": "meta.passage_start", "operator": "==", "value": None},
    {
        "operator": "AND",
        "conditions": [
            of("meta.item_id", "lamp"),
            {"field": "content", "operator": "!=", "value": "?"},
            {"operator": "NOT", "conditions": [of("meta.stars", 5)]},
        ],
    },
    {"operator": "OR", "conditions": [of("id", "kinds"), of("embedding", None), of("split", None)]},
    {"field": "meta.review_id", "operator": "not in", "value": ["long-1", None]},
]


@pytest.mark.parametrize("format_", [1, 2])
def test_filters_select_the_same_before_and_after_its_upgrade(put, dumped, caplog, format_):
    dumped = json.loads(json.dumps(dumped))
    old = dumped["v010-v1"]
    if format_ == 2:
        old["mappings"]["_meta"]["qa_system"]["format"] = 2
        embedding = old["mappings"]["properties"]["embedding"]
        place = {"type": "integer", "index": False, "doc_values": False}
        passage = {"start": place, "end": place, "embedding": embedding}
        old["mappings"]["properties"]["passages"] = {"type": "nested", "properties": passage}
        old["documents"] = [
            each for each in old["documents"] if "passage_start" not in each[1].get("long", {})
        ]
    # As many fields as the server takes by itself: there is no room for another one.
    taken = len(json.dumps(old["mappings"]).split('"type"'))
    names = {f"u{n}": {"type": "long"} for n in range(1_000 - taken)}
    old["mappings"]["properties"]["long"]["properties"].update(names)
    store = put(dumped)
    before = store.filter_documents()
    assert len(before) > 5
    wanted = [[each.id for each in before if selects(chosen, each)] for chosen in FILTERS]
    assert all(wanted)
    assert [ids(store.filter_documents(chosen)) for chosen in FILTERS] == wanted
    assert "is of an older format, where this filter is slow" in caplog.text
    types = store.get_metadata_fields_info()
    values = store.get_metadata_field_unique_values("meta.item_id")
    reader = put({})
    assert reader.count_documents() == len(before)
    store.delete_documents(["nobody"])
    assert format_of(store) == 3
    if format_ == 1:
        check_upgraded(store, dumped)
        return
    assert store.filter_documents() == before
    for each in (store, reader):
        assert [ids(each.filter_documents(chosen)) for chosen in FILTERS] == wanted
        assert each.get_metadata_fields_info() == types
        assert each.get_metadata_field_unique_values("meta.item_id") == values
    store.write_documents([Document(id="voted", meta={"votes": {"u_new": 1}})])
    assert ids(store.filter_documents(of("meta.votes.u_new", True))) == ["voted"]
    mapped = store._at.client.indices.get_mapping(index=store.index).body.popitem()[1]["mappings"]
    assert "votes" not in str(mapped)


@pytest.mark.parametrize(
    "change",
    [
        lambda store, chosen: store.delete_by_filter(chosen),
        lambda store, chosen: store.update_by_filter(chosen, {"stars": None}),
    ],
    ids=["delete", "update"],
)
def test_a_filter_that_changes_an_old_index_selects_whole_reviews(put, dumped, caplog, change):
    chosen = {"field": "meta.stars", "operator": ">=", "value": 4}
    good = {row["review_id"] for row in ROWS if row.get("stars", 0) >= 4}
    store = put(dumped)
    assert "long-1#3" in ids(store.filter_documents(chosen))
    caplog.clear()
    with pytest.raises(InvalidFilterError, match="unknown comparison operator"):
        change(store, {**chosen, "operator": "=>"})
    assert format_of(store) == 1
    assert change(store, chosen) == len(good)
    assert "slow" not in caplog.text
    assert format_of(store) == 3
    assert store.filter_documents(chosen) == []


def test_versions_of_either_format_take_each_others_place(put, dumped):
    store = put(dumped)
    built = store.new_version(encoder=store.encoder)
    assert (format_of(store), format_of(built)) == (1, 3)
    kept = store.filter_documents(of("id", "kinds"))
    built.write_documents(kept)
    store.promote(built)
    assert (format_of(store), store.count_documents()) == (3, 1)
    store.rollback()
    assert len(store.versions()) == 2
    check_upgraded(store, dumped)


class Encoder:
    identity = EncoderIdentity("test:length", 3, "dot_product", "aa" * 32)

    def encode_passages(self, texts):
        return np.array([[len(text), 1, "bright" in text] for text in texts], np.float32)


def test_another_encoder_embeds_the_passages_of_an_old_index(put, dumped):
    store = put(dumped)
    # What 0.1.0 has left of such a work may end within a review: it is begun anew.
    mappings = json.loads(json.dumps(dumped["v010-v1"]["mappings"]))
    mappings["_meta"]["qa_system"] |= {"promoted": False, "encoder": None}
    store._at.client.indices.create(index=f"{store.index}-v2", mappings=mappings)
    assert store.update_embeddings(Encoder(), batch_size=3) == len(ROWS) + 1
    assert store.status().index == f"{store.index}-v3"
    assert store.encoder == Encoder.identity
    [hit] = store.search_by_embedding([0.0, 0.0, 1.0], 1, of("id", "long-1"))
    assert "bright" in hit.content[hit.meta["passage_start"] : hit.meta["passage_end"]]


def test_a_newer_format_is_refused(put, dumped):
    newer = json.loads(json.dumps(dumped))
    newer["v010-v1"]["mappings"]["_meta"]["qa_system"]["format"] = 4
    store = put(newer)
    for use in (store.count_documents, lambda: store.delete_documents(["a"])):
        with pytest.raises(StoreMismatchError, match="has format 4, and this version knows 3"):
            use()


# --- what is there, and what else is at work


DIMENSION = 4
MAX_WORDS = 5


def reviews(count):
    draw = random.Random(3)
    words = ["light", "is", "bright", "strap", "broke", "soon", "cheap", "lamp", "café", "good"]
    return [
        Review(f"r{n}", f"B{n % 9}", " ".join(draw.choices(words, k=draw.randint(8, 40))))
        for n in range(count)
    ]


def vector(name):
    return np.random.default_rng(list(name.encode())).normal(size=DIMENSION).astype(np.float32)


def as_0_1(source):
    """A document's source with its metadata where 0.1.0 had it."""
    del source["facts"], source["types"], source["terms"]
    meta = source["meta"]
    texts = {key: meta[key] for key in meta if isinstance(meta[key], str) and key not in source}
    numbers = {key: value for key, value in meta.items() if isinstance(value, int)}
    return {**source, "keyword": texts, "long": numbers, "fields": [*meta], "exact": []}


def old_index(dumped, given, **settings):
    """An index of 0.1.0 with these reviews in passages."""
    mappings = json.loads(json.dumps(dumped["v010-v1"]["mappings"]))
    mappings["properties"]["embedding"]["dims"] = DIMENSION
    mappings["_meta"]["qa_system"]["encoder"] = None
    documents = []
    for review in given:
        for number, (start, end) in enumerate(split(review.text, MAX_WORDS)):
            name = f"{review.id}#{number}"
            meta = {
                "review_id": review.id,
                "item_id": review.item_id,
                "content_hash": f"{review.content_hash}:{start}-{end}",
                "passage_start": start,
            }
            document = Document(
                id=name,
                content=review.text[start:end],
                meta=meta,
                embedding=vector(name).tolist(),
            )
            source = encode(document, len(documents), DIMENSION, embedding_required=True)
            documents.append([name, as_0_1(orjson.loads(source))])
    index = {"mappings": mappings, "aliases": {"v010": {}}, "documents": documents}
    return {"v010-v1": {**index, "settings": settings}}


def check_whole(store, given):
    """Every review is there as it was, with its passages' embeddings, and nothing else."""
    assert format_of(store) == 3
    found = {each.id: each for each in store.filter_documents()}
    assert found.keys() == {review.id for review in given}
    kept = sources(store)
    for review in given:
        spans = split(review.text, MAX_WORDS)
        assert found[review.id].content == review.text
        assert found[review.id].meta["content_hash"] == hash_of(review.content_hash, spans)
        passages = kept[review.id]["passages"]
        assert [(each["start"], each["end"]) for each in passages] == spans
        for number, each in enumerate(passages):
            assert (
                np.float32(each["embedding"]).tolist() == vector(f"{review.id}#{number}").tolist()
            )


def test_what_is_there_under_the_name_of_a_review_is_left_alone(put, dumped):
    given = reviews(3)
    old = old_index(dumped, given)
    own = {"meta": {}, "content": "Not of a job.", "written": 0, "parts": ["content"]}
    old["v010-v1"]["documents"].append(["r1", own])
    store = put(old)
    store.delete_documents(["nobody"])
    found = set(ids(store.filter_documents()))
    assert {"r0", "r1", "r2"} < found
    assert {name for name in found if "#" in name} == {
        f"r1#{n}" for n in range(len(split(given[1].text, MAX_WORDS)))
    }
    assert store.filter_documents(of("id", "r1"))[0].content == "Not of a job."


def test_what_an_interrupted_job_left_between_two_settings_is_joined(put, dumped):
    [review] = given = reviews(1)
    old = old_index(dumped, given)
    source = dict(old["v010-v1"]["documents"][0][1])
    # Another passage that begins where the first one does, and is shorter.
    text = source["content"].split()[0]
    source |= {"content": text, "meta": {**source["meta"]}}
    source["meta"]["content_hash"] = f"{review.content_hash}:0-{len(text)}"
    old["v010-v1"]["documents"].append(["r0#99", source])
    store = put(old)
    store.delete_documents(["nobody"])
    check_whole(store, given)


def test_a_review_that_the_server_does_not_take_stays_in_passages(put, dumped, caplog):
    given = reviews(20)
    spans = {review.id: split(review.text, MAX_WORDS) for review in given}
    store = put(old_index(dumped, given, **{"mapping.nested_objects.limit": 5}))
    store.delete_documents(["nobody"])
    expected = set()
    for name, own in spans.items():
        if len(own) <= 5:
            expected.add(name)
        else:
            expected |= {f"{name}#{n}" for n in range(len(own))}
            assert f"the review {name!r} is left in passages" in caplog.text
    assert format_of(store) == 3
    assert set(ids(store.filter_documents())) == expected
    assert 5 < len(expected.intersection(spans)) < 20


ODD_WORDS = ["5.5", "3,000", "1.2.3", "USB3.0", "U.S.A.", "foo_bar", "O'Neil", "battery"]


def test_words_with_punctuation_inside_are_found_before_and_after_its_upgrade(
    put, dumped, tmp_path
):
    given = [Review(word, "B0", f"The {word} is good.") for word in ODD_WORDS]
    store = put(old_index(dumped, given))
    assert format_of(store) == 1
    for word in ODD_WORDS:
        assert ids(store.search_bm25(f"Is it a {word}?")) == [
            f"{word}#0",
            *sorted((f"{each}#0" for each in ODD_WORDS if each != word), key=tie_breaker),
        ]
        assert ids(store.search_bm25(f"({word})")) == [f"{word}#0"]
    # The server keeps 5.5 whole, and cuts a question as it has cut the texts.
    assert store.search_bm25("55") == store.search_bm25("?!") == []
    store.delete_documents(["nobody"])
    assert format_of(store) == 3
    with FAISSDocumentStore(tmp_path / "store") as embedded:
        embedded.write_documents([Document(id=each.id, content=each.text) for each in given])
        for question in [*ODD_WORDS, "Is it a 5.5?", "5", "neil", "bar", "the U", "batteries"]:
            expected, found = (each.search_bm25(question) for each in (embedded, store))
            assert ids(found) == ids(expected) != []
            assert [each.score for each in found] == pytest.approx(
                [each.score for each in expected], abs=1e-4
            )


def test_a_reader_of_an_old_index_goes_on_in_the_new_version(put, dumped):
    store = put(dumped)
    reader = put({})
    assert reader.search_bm25("bright") != []
    built = store.new_version(encoder=None)
    built.write_documents([Document(id="new", content="It is 5.5 inches.")])
    store.promote(built)
    assert ids(reader.search_bm25("5.5")) == ["new"]
    assert ids(reader.search_bm25("Is it?")) == ["new"]
    assert reader.search_bm25("bright") == []


def test_an_index_without_passages_or_embeddings_is_upgraded(put, dumped):
    old = old_index(dumped, [])
    del old["v010-v1"]["mappings"]["properties"]["embedding"]["dims"]
    del old["v010-v1"]["mappings"]["properties"]["long"]["properties"]["passage_start"]
    store = put(old)
    store.write_documents([Document(id="a", content="Good.", embedding=[1.0, 2.0])])
    assert (format_of(store), store.status().embedding_dim) == (3, 2)
    assert ids(store.search_by_embedding([1.0, 2.0], 2)) == ["a"]


# Opening the store takes seconds to import: each upgrade is forked from a process that has it.
DRIVER = """
import json, os, sys, logging
from qa_system.stores.elasticsearch import ElasticsearchReviewStore
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        with ElasticsearchReviewStore(**json.loads(line)) as store, store.loading():
            pass
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)
"""


class Upgrader:
    """A process that upgrades, to be killed."""

    def __init__(self, store):
        self._settings = store.to_dict()["init_parameters"] | {"bulk": {"chunk_documents": 5}}
        self._driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def begin(self):
        self._driver.stdin.write(json.dumps(self._settings) + "\n")
        self._driver.stdin.flush()
        return int(self._driver.stdout.readline())

    def end(self):
        return self._driver.stdout.readline().strip()

    def close(self):
        self._driver.stdin.close()
        self._driver.wait(30)
        self._driver.stdout.close()


@pytest.fixture
def upgraders():
    made = []

    def make(store):
        made.append(Upgrader(store))
        return made[-1]

    yield make
    for each in made:
        each.close()


def left(store):
    """How many passages are documents still."""
    store._at.refresh(always=True)
    return store._at.count({"exists": {"field": "long.passage_start"}})


@pytest.mark.slow
def test_an_upgrade_killed_at_several_moments_loses_nothing(put, dumped, upgraders):
    given = reviews(500)
    old = old_index(dumped, given)
    store, chance = put(old), random.Random(13)
    upgrader = upgraders(store)
    passages = begun = left(store)
    for kill in range(KILLS):
        # It gets a little further each time, whatever the speed of the machine.
        beyond = passages * (1 - kill / (KILLS + 3))
        child = upgrader.begin()
        while left(store) > beyond:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        assert upgrader.end() == "killed"
        assert format_of(store) == 1
        assert 0 < left(store) <= begun
        begun = left(store)
        # Of each review there is all: itself, or every passage.
        found = set(ids(store.filter_documents()))
        for review in given:
            own = {f"{review.id}#{n}" for n in range(len(split(review.text, MAX_WORDS)))}
            assert review.id in found or own <= found
    upgrader.begin()
    assert upgrader.end() == "0"
    check_whole(store, given)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_two_upgrades_at_once_while_it_is_read(put, dumped, upgraders, shards):
    given = reviews(300)
    store = put(old_index(dumped, given, number_of_shards=shards))
    first, second = upgraders(store), upgraders(store)
    stop, lost, asked = threading.Event(), [], []

    def ask(chance):
        review = chance.choice(given)
        number = chance.randrange(len(split(review.text, MAX_WORDS)))
        near = vector(f"{review.id}#{number}")
        chosen = of("meta.review_id", review.id)
        by_meaning = store.search_by_embedding(near, 1, chosen)
        if not by_meaning or by_meaning[0].score < float(near @ near) * 0.9999:
            lost.append((review.id, number, by_meaning))
        if not store.search_bm25(review.text, 1, chosen):
            lost.append(review.id)

    def read():
        while not stop.is_set():
            try:
                ask(random.Random(len(asked)))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                lost.append(repr(error))
            asked.append(time.monotonic())

    store.count_documents()  # the reader knows the index as it was
    reader = threading.Thread(target=read)
    reader.start()
    for each in (first, second):
        each.begin()
    assert [first.end(), second.end()] == ["0", "0"]
    stop.set()
    reader.join()
    assert lost == []
    assert len(asked) > 10
    check_whole(store, given)
