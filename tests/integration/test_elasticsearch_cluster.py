"""Three Elasticsearch nodes: one is killed while a store writes, another while it is asked."""

import socket
import threading
import time

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from haystack.dataclasses import Document

from qa_system.stores.elasticsearch import ElasticsearchReviewStore

COUNT = 6_000
ITEMS = 60
DIMENSION = 64
NODES = ("n0", "n1", "n2")


def documents():
    vectors = np.random.default_rng(7).standard_normal((COUNT, DIMENSION)).astype(np.float32)
    return [
        Document(
            id=f"r{n}",
            content=f"The battery lasts {n} hours and the sound is good.",
            meta={"item_id": f"item-{n % ITEMS}", "review_id": f"r{n}"},
            embedding=vectors[n].tolist(),
        )
        for n in range(COUNT)
    ]


def of_item(n):
    return {"field": "meta.item_id", "operator": "==", "value": f"item-{n % ITEMS}"}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def cluster(start_elasticsearch):
    """Nodes by name, each started by `start(name)`; a killed one comes back to its own data."""
    http, transport = free_ports(3), free_ports(3)
    seeds = ",".join(f"127.0.0.1:{port}" for port in transport)
    ports = dict(zip(NODES, zip(http, transport, strict=True), strict=True))

    def start(name):
        return start_elasticsearch(
            name,
            f"node.name={name}",
            f"http.port={ports[name][0]}",
            f"transport.port={ports[name][1]}",
            f"discovery.seed_hosts={seeds}",
            f"cluster.initial_master_nodes={','.join(NODES)}",
            heap="384m",
        )

    nodes = {name: start(name) for name in NODES}
    url = ",".join(nodes[name].url for name in NODES)
    wait_until_green(url)
    return nodes, url, start


def wait_until_green(url):
    with Elasticsearch(url.split(",")) as client:
        health = client.options(request_timeout=90).cluster.health(
            wait_for_status="green", wait_for_nodes="3", timeout="80s"
        )
    assert (health["status"], health["number_of_nodes"]) == ("green", 3)


def master_of(url):
    with Elasticsearch(url.split(",")) as client:
        return client.cat.master(format="json")[0]["node"]


class Askers:
    """Threads that ask until they are told to stop, and remember what went wrong."""

    def __init__(self, url, index, vectors, threads=3):
        self.asked, self.errors = 0, []
        self._stop = threading.Event()
        self._store = ElasticsearchReviewStore(url, index)
        self._vectors = vectors
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(threads)]

    def _ask(self, n):
        while not self._stop.is_set():
            n += 1
            try:
                near = self._store.search_by_embedding(self._vectors[n % COUNT], 10, of_item(n))
                told = self._store.search_bm25("How long does the battery last?", 10, of_item(n))
                if (len(near), len(told)) != (10, 10):
                    self.errors.append(f"{len(near)} and {len(told)} documents instead of 10")
            except Exception as error:  # noqa: BLE001 - whatever it is
                self.errors.append(repr(error))
            with self._lock:
                self.asked += 1

    def wait_for(self, more):
        wanted = self.asked + more
        until = time.monotonic() + 60
        while self.asked < wanted:
            assert time.monotonic() < until, "the queries hang"
            time.sleep(0.05)

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for each in self._threads:
            each.join()
        self._store.close()


@pytest.mark.slow
def test_a_node_dies_while_writing_and_another_while_being_asked(cluster):
    nodes, url, start = cluster
    given = documents()
    with ElasticsearchReviewStore(
        url, shards=3, replicas=1, bulk={"chunk_documents": 100}
    ) as store:
        store.write_documents(given[:100])
        # The master: the cluster has to choose another before a shard can move.
        first = master_of(url)
        killer = threading.Thread(target=nodes[first].kill)
        written, retried = 100, 0
        with store.loading():
            for begin in range(100, COUNT, 500):
                if begin == 1_100:
                    killer.start()
                report = store.write_bulk(given[begin : begin + 500])
                assert report.rejected == []
                written += report.written
                retried += report.retried
            killer.join()
            # What the dead node held is written again by others: nothing is counted twice.
            report = store.write_bulk(given[:500])
            retried += report.retried
        assert retried
        assert written == COUNT
        assert store.count_documents() == COUNT
        assert {document.id for document in store.filter_documents()} == {one.id for one in given}

        nodes[first] = start(first)
        assert nodes[first].url in url
        wait_until_green(url)
        second = next(name for name in NODES if name != first)
        vectors = [document.embedding for document in given]
        with Askers(url, "reviews", vectors) as askers:
            askers.wait_for(30)
            nodes[second].kill()
            askers.wait_for(150)
        assert askers.errors == []
        assert store.count_documents() == COUNT
