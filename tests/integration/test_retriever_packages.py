"""A retriever of a package outside the repository: every program finds it by its entry point."""

import json
import os
import subprocess
import sys

import pytest

RETRIEVER = '''
from haystack import Document, component

from qa_system.retrievers.registry import RetrieverMode


@component
class Newest:
    """Retrieve the newest reviews, whatever they say."""

    def __init__(self, document_store, top_k):
        self.document_store = document_store
        self.top_k = top_k

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict | None = None):
        found = self.document_store.filter_documents(filters)
        found.sort(key=lambda document: document.meta["date"], reverse=True)
        return {"documents": found[: self.top_k]}


def add(pipeline, store, settings):
    pipeline.add_component("retriever", Newest(store, settings.retriever.top_k))


newest = RetrieverMode("newest", add)
'''


@pytest.fixture
def run(tmp_path, root):
    """Run a program beside a package that looks as if pip had installed it."""
    site = tmp_path / "site"
    about = site / "shop_retrievers-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "shop_retrievers.py").write_text(RETRIEVER)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-retrievers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[qa_system.retrievers]\nx = shop_retrievers:newest\n")
    path = os.pathsep.join((str(site), str(root)))

    def run(program, *arguments):
        return subprocess.run(
            [sys.executable, "-m", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )

    return run


@pytest.mark.slow
def test_it_is_measured_beside_bm25_and_answers(run, sample):
    done = run(
        *("eval.cli", "retriever", "--dataset", sample, "--split", "dev"),
        *("--retriever-mode", "newest", "--k", "3", "--resamples", "100", "--json"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert list(summary["systems"]) == ["newest"]
    assert 0 < summary["systems"]["newest"]["metrics"]["recall@3"] < 1
    assert "bm25" in summary["references"]

    done = run("indexing.cli", "run", "--source", sample, "--store", "store", "--no-embed")
    assert done.returncode == 0, done.stderr
    question = ("ask", "Is it loud?", "--item", "earbuds-pipstone-air", "--store", "store")
    done = run("qa_system.cli", *question, "--set", "retriever.mode=newest", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reviews_read"] > 0


@pytest.mark.slow
def test_a_name_that_nobody_has_is_bad_usage(run, sample):
    done = run("eval.cli", "retriever", "--dataset", sample, "--retriever-mode", "newset")
    assert done.returncode == 2
    assert "bm25, dense, hybrid, sentences, judged, newest" in done.stderr
