"""`qa doctor` on a real Elasticsearch server, and on what a server with users would answer."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from haystack.dataclasses import Document

from qa_system.doctor import examine

ROOT_PAGE = {"cluster_name": "c", "version": {"number": "8.19.5"}}
NOT_KNOWN = "missing authentication credentials for REST request [/]"
NOT_ALLOWED = "action [indices:admin/get] is unauthorized for user [reader]"


def look(url, **store):
    """Return the findings about the server and its store by name."""
    chosen = {"type": "elasticsearch", "url": url, **store}
    found = examine(overrides=[f"store.{key}={json.dumps(value)}" for key, value in chosen.items()])
    first = [finding.name for finding in found].index("server")
    return {finding.name: finding for finding in found[first:]}


def index_of(store):
    """Return the name under which a test's store can be opened."""
    return store.to_dict()["init_parameters"]["index"]


def test_a_sound_store(elastic_store, elasticsearch_url):
    store = elastic_store()
    store.write_documents([Document(id="r1", content="good", meta={"item_id": "lamp"})])
    found = look(elasticsearch_url, index=index_of(store))
    assert list(found) == ["server", "cluster", "disk", "index", "store"]
    assert all(finding.ok for name, finding in found.items() if name not in ("cluster", "disk"))
    assert "Elasticsearch 8." in found["server"].detail
    assert found["index"].detail == f"{index_of(store)}-v1: flat, 1 shard"
    assert found["store"].detail.startswith("1 document of 1 item ")


def test_a_job_at_work(elastic_store, elasticsearch_url):
    store = elastic_store()
    with store.loading():
        found = look(elasticsearch_url, index=index_of(store))["index"]
    assert "a job is at work, or was killed" in found.detail
    assert look(elasticsearch_url, index=index_of(store))["index"].remedy is None


def test_no_server_no_index_and_json(elastic_store, elasticsearch_url, tmp_path):
    found = look("http://127.0.0.1:1")
    assert list(found) == ["server"]
    assert not found["server"].ok
    assert found["server"].required
    assert "cannot be reached" in found["server"].detail
    assert found["server"].remedy == "Check that it runs, and its address."
    command = [
        Path(sys.executable).with_name("qa"), "doctor", "--json",
        "--set", "store.type=elasticsearch", "--set", "store.index=test-nothing-here",
        "--set", f"store.url='http://127.0.0.1:1,{elasticsearch_url}'",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["healthy"]
    *_, down, up, _cluster, _disk, index = report["findings"]
    assert (down["name"], down["ok"], down["required"]) == ("server", False, False)
    assert (up["name"], up["ok"]) == ("server", True)
    assert (index["ok"], index["required"]) == (False, False)
    assert "no index or alias 'test-nothing-here'" in index["detail"]
    assert "qa-index run" in index["remedy"]


def test_an_index_that_is_not_as_it_should_be(elastic_store, elasticsearch_url):
    store = elastic_store()
    store.write_documents([Document(id="r1", content="good", embedding=[1.0, 0.0])])
    name = index_of(store)

    other = look(elasticsearch_url, index=name, index_options="hnsw", shards=2)["index"]
    assert other.ok
    assert "flat, 1 shard; the settings say hnsw, 2 shards" in other.detail
    assert "--rebuild" in other.remedy
    differs = look(elasticsearch_url, index=name, similarity="l2")["index"]
    assert (differs.ok, differs.required) == (False, True)
    assert "by 'dot_product', the settings say 'l2'" in differs.detail

    with Elasticsearch(elasticsearch_url) as client:
        client.indices.put_settings(index=name, settings={"index.blocks.write": True})
        blocked = look(elasticsearch_url, index=name)["index"]
        client.indices.put_settings(index=name, settings={"index.blocks.write": None})
        assert (blocked.ok, blocked.required) == (False, True)
        assert f"{name}-v1 is blocked: write" in blocked.detail
        assert '"index.blocks.write": null' in blocked.remedy

        foreign = name.replace("reviews", "foreign")
        client.indices.create(index=foreign, mappings={"properties": {"text": {"type": "text"}}})
        found = look(elasticsearch_url, index=foreign)
        assert "was not made by this store" in found["index"].detail
        assert found["index"].required
        assert "store" not in found


def test_copies_without_a_node_are_yellow(elastic_store, elasticsearch_url):
    store = elastic_store(replicas=9)
    store.write_documents([Document(id="r1", content="good")])
    found = look(elasticsearch_url, index=index_of(store))["cluster"]
    assert (found.ok, found.required) == (False, False)
    assert found.detail.startswith("yellow, ")
    assert "index.number_of_replicas" in found.remedy


@pytest.mark.slow
def test_a_full_disk_and_missing_shards(start_elasticsearch):
    watermark = "cluster.routing.allocation.disk.watermark"
    full = [f"{watermark}.{stage}=900tb" for stage in ("low", "high", "flood_stage")]
    url = start_elasticsearch("full", *full).url
    with Elasticsearch(url) as client:
        client.indices.create(
            index="reviews-v1",
            settings={"number_of_replicas": 0, "routing.allocation.require._name": "nobody"},
            wait_for_active_shards=0,
        )
    found = look(url)
    assert (found["disk"].ok, found["disk"].required) == (False, True)
    assert "its flood stage is at 989,560.5 GB: its indexes take no more" in found["disk"].detail
    assert (found["cluster"].ok, found["cluster"].required) == (False, True)
    assert found["cluster"].detail.startswith("red, 1 node; 1 of 1 shards are on none")
    assert "reviews-v1" in found["cluster"].detail


# --- what the test server lacks: users. The protocol is tested on a plain HTTP server.


class Guarded(BaseHTTPRequestHandler):
    """Answers as a server with users does; which page meets with what, `answers` says."""

    answers: dict = {}

    def do_GET(self):
        status, body = 200, ROOT_PAGE
        for path, (refusal, reason) in self.answers.items():
            if self.path.split("?")[0] == path:
                cause = {"type": "security_exception", "reason": reason}
                if refusal == 401:
                    cause["header"] = {"WWW-Authenticate": ['Basic realm="security"', "ApiKey"]}
                status = refusal
                body = {"error": {"root_cause": [cause], **cause}, "status": refusal}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def guarded():
    """Serves what `guarded(answers)` says."""
    servers = []

    def serve(answers, page=ROOT_PAGE):
        handler = type("Handler", (Guarded,), {"answers": answers})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_that_does_not_know_us(guarded):
    found = look(guarded({"/": (401, NOT_KNOWN)}))
    assert list(found) == ["server"]
    assert (found["server"].ok, found["server"].required) == (False, True)
    assert "does not know us" in found["server"].detail
    assert "api_key_env" in found["server"].remedy


def test_a_user_who_may_not_see_everything(guarded):
    refused = (403, NOT_ALLOWED)
    url = guarded({"/_cluster/health": refused, "/_nodes/stats/fs": refused, "/reviews": refused})
    found = look(url)
    assert list(found) == ["server", "cluster", "disk", "index"]
    assert found["server"].ok
    for name, required in (("cluster", False), ("disk", False), ("index", True)):
        assert (found[name].ok, found[name].required) == (False, required)
        assert "is unauthorized for user [reader]" in found[name].detail
        assert "privilege monitor" in found[name].remedy


def test_another_major_version(guarded, monkeypatch):
    monkeypatch.setitem(ROOT_PAGE, "version", {"number": "7.17.1"})
    found = look(guarded({}))
    assert list(found) == ["server"]
    assert "Elasticsearch 7.17.1, and 8.x is needed" in found["server"].detail


def test_credentials_that_are_not_set(elasticsearch_url, monkeypatch):
    monkeypatch.delenv("QA_TEST_KEY", raising=False)
    found = look(elasticsearch_url, api_key_env="QA_TEST_KEY")
    assert list(found) == ["server"]
    assert "QA_TEST_KEY is not set" in found["server"].detail
