"""Components for pipelines of one's own: in real Haystack pipelines, saved as YAML and loaded."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline, component, tracing
from haystack.components.joiners import AnswerJoiner
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ExtractedAnswer, GeneratedAnswer
from haystack.document_stores.types import DuplicatePolicy

from qa_system import pipelines
from qa_system.config import EncoderSettings, load_settings
from qa_system.errors import EncoderMismatchError, EvaluationError
from qa_system.evaluators import AnswerEMEvaluator, AnswerF1Evaluator
from qa_system.generators.scoring import GeneratedAnswerScorer, ScoredAnswer
from qa_system.metrics import exact_match, f1
from qa_system.readers.extractive import ExtractiveReader
from qa_system.records import EncoderIdentity
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.embedders import ReviewDocumentEmbedder, ReviewTextEmbedder
from qa_system.retrievers.embedding import ReviewEmbeddingRetriever
from qa_system.retrievers.encoders import load_encoder
from qa_system.stages import stage
from qa_system.stores.contract import ReviewStore
from qa_system.stores.faiss import FAISSDocumentStore

REVIEWS = [
    Document(id="r1", content="The light is warm and bright enough for reading in bed."),
    Document(id="r2", content="Stopped working after a week. Returned it."),
    Document(id="r3", content="The battery lasts ten hours."),
    Document(id="r4", content=" "),
]
QUESTION = "How long does the battery last?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FAISSDocumentStore]:
    with FAISSDocumentStore(tmp_path / "store") as opened:
        yield opened


def indexing(store: ReviewStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", ReviewDocumentEmbedder(document_store=store))
    pipeline.add_component("writer", DocumentWriter(store, DuplicatePolicy.OVERWRITE))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def asking(store: ReviewStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", ReviewTextEmbedder())
    pipeline.add_component("retriever", ReviewEmbeddingRetriever(store, top_k=2))
    pipeline.add_component("reader", ExtractiveReader(no_answer_threshold=-20, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "reader.documents")
    return pipeline


ASKED = {"embedder": {"text": QUESTION}, "reader": {"query": QUESTION}}


def test_documents_are_embedded_written_and_found(store: FAISSDocumentStore) -> None:
    readable = REVIEWS[:3]
    assert indexing(store).run({"embedder": {"documents": readable}})["writer"] == {
        "documents_written": 3
    }
    found = asking(store).run(ASKED, include_outputs_from={"retriever"})
    assert found["retriever"]["documents"][0].id == "r3"
    assert found["reader"]["answers"][0].data == "ten hours"
    same = DenseRetriever(store, top_k=2).run(QUESTION)["documents"]
    assert same == found["retriever"]["documents"]
    encoder = load_encoder(EncoderSettings())
    assert store.encoder == encoder.identity
    vectors = [document.embedding for document in store.filter_documents()]
    np.testing.assert_allclose(
        vectors, encoder.encode_passages([each.content for each in readable]), atol=1e-6
    )


@pytest.mark.slow
def test_on_a_server_too(elastic_store: Callable[..., ReviewStore]) -> None:
    store = elastic_store("embedded")
    indexing(store).run({"embedder": {"documents": REVIEWS[:3]}})
    assert store.encoder == load_encoder(EncoderSettings()).identity
    pipeline = Pipeline.loads(asking(store).dumps(), allowed_modules=["qa_system.*"])
    found = pipeline.run(ASKED, include_outputs_from={"retriever"})
    assert found["retriever"]["documents"][0].id == "r3"
    assert found["reader"]["answers"][0].data == "ten hours"


def test_a_document_without_text_is_passed_on_as_it_is() -> None:
    embedded = ReviewDocumentEmbedder().run(REVIEWS)["documents"]
    assert [document.id for document in embedded] == [document.id for document in REVIEWS]
    assert [document.embedding is None for document in embedded] == [False, False, False, True]
    assert all(document.embedding is None for document in REVIEWS)
    assert ReviewDocumentEmbedder().run([])["documents"] == []


def test_the_store_refuses_another_encoder(store: FAISSDocumentStore) -> None:
    store.bind_encoder(EncoderIdentity("another", 384, "cosine", "00" * 32))
    with pytest.raises(EncoderMismatchError, match="another"):
        ReviewDocumentEmbedder(document_store=store).run(REVIEWS[:1])


def test_filters_and_top_k_of_a_call_replace_the_components(store: FAISSDocumentStore) -> None:
    indexing(store).run({"embedder": {"documents": REVIEWS[:3]}})
    vector = ReviewTextEmbedder().run(QUESTION)["embedding"]
    only = {"field": "id", "operator": "==", "value": "r2"}
    retriever = ReviewEmbeddingRetriever(store, top_k=3, filters=only)
    assert [each.id for each in retriever.run(vector)["documents"]] == ["r2"]
    other = {"field": "id", "operator": "in", "value": ["r1", "r3"]}
    found = retriever.run(vector, filters=other, top_k=1)["documents"]
    assert [each.id for each in found] == ["r3"]


def test_an_asynchronous_pipeline_answers_alike(store: FAISSDocumentStore) -> None:
    indexing(store).run({"embedder": {"documents": REVIEWS[:3]}})
    pipeline = asking(store)
    assert asyncio.run(pipeline.run_async(ASKED)) == pipeline.run(ASKED)


LOADED = """
import sys
from haystack import Pipeline
text = open(sys.argv[1]).read()
pipeline = Pipeline.loads(text{arguments})
question = "How long does the battery last?"
found = pipeline.run({{"embedder": {{"text": question}}, "reader": {{"query": question}}}})
assert found["reader"]["answers"][0].data == "ten hours"
"""


def loads(code: str, file: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, str(file)]
    given = {**os.environ, **environ}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


SHIPPED = """
import sys
from haystack import Pipeline
pipeline = Pipeline.loads(open(sys.argv[1]).read(), allowed_modules=["qa_system.*"])
found = pipeline.run({"query": "How long does the battery last?"})
assert any(answer.data == "ten hours" for answer in found["reader"]["answers"])
"""


@pytest.mark.slow
def test_the_yaml_of_our_pipelines_loads_in_a_process_that_allows_our_modules(
    store: FAISSDocumentStore, tmp_path: Path
) -> None:
    indexing(store).run({"embedder": {"documents": REVIEWS[:3]}})
    settings = load_settings(overrides={"reader.no_answer_threshold": -20}, environ={})
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipelines.extract(store, settings).dumps(), encoding="utf-8")
    store.close()
    done = loads(SHIPPED, file)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_yaml_loads_in_a_process_that_allows_our_modules(
    store: FAISSDocumentStore, tmp_path: Path
) -> None:
    indexing(store).run({"embedder": {"documents": REVIEWS[:3]}})
    file = tmp_path / "pipeline.yaml"
    file.write_text(asking(store).dumps(), encoding="utf-8")
    store.close()
    allowed = LOADED.format(arguments=', allowed_modules=["qa_system.*"]')
    plain = LOADED.format(arguments="")
    assert loads(allowed, file).returncode == 0
    assert loads(plain, file, HAYSTACK_DESERIALIZATION_ALLOWLIST="qa_system.*").returncode == 0
    assert loads(f"import qa_system.pipelines{plain}", file).returncode == 0
    refused = loads(plain, file)
    assert refused.returncode != 0
    assert "allowed_modules=" in refused.stderr


@pytest.mark.parametrize("made", [indexing, asking])
def test_yaml_round_trip(store: FAISSDocumentStore, made: Any) -> None:
    pipeline = made(store)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["qa_system.*"])
    assert again.to_dict() == pipeline.to_dict()


def evaluating() -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("em", AnswerEMEvaluator())
    pipeline.add_component("f1", AnswerF1Evaluator())
    return pipeline


def test_evaluators_score_as_squad_does() -> None:
    pipeline = Pipeline.loads(evaluating().dumps(), allowed_modules=["qa_system.*"])
    truths = [["The battery", "a battery pack"], [], ["ten hours"], ["ten hours"]]
    said = ["battery pack!", "", "", "about ten hours"]
    given = {"ground_truth_answers": truths, "predicted_answers": said}
    scores = pipeline.run({"em": given, "f1": given})
    assert scores["em"] == {"individual_scores": [1, 1, 0, 0], "score": 0.5}
    assert scores["f1"]["individual_scores"] == [1.0, 1.0, 0.0, pytest.approx(0.8)]
    for metric, name in ((exact_match, "em"), (f1, "f1")):
        expected = [metric(text, truth) for text, truth in zip(said, truths, strict=True)]
        assert scores[name]["individual_scores"] == expected


def test_evaluators_connect_to_lists_of_texts() -> None:
    @component
    class Texts:
        @component.output_types(texts=list[str])
        def run(self) -> dict[str, list[str]]:
            return {"texts": ["The screen", ""]}

    pipeline = evaluating()
    pipeline.add_component("texts", Texts())
    for name in ("em", "f1"):
        pipeline.connect("texts.texts", f"{name}.ground_truth_answers")
        pipeline.connect("texts.texts", f"{name}.predicted_answers")
    scores = pipeline.run({})
    assert scores["em"]["score"] == scores["f1"]["score"] == 1.0


@pytest.mark.parametrize(("truths", "said"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_evaluators_refuse_what_cannot_be_compared(truths: list[str], said: list[str]) -> None:
    for evaluator in (AnswerEMEvaluator(), AnswerF1Evaluator()):
        with pytest.raises(EvaluationError, match=f"{len(truths)} right answers"):
            evaluator.run(truths, said)


def joined(sort_by_score: bool = True) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("scorer", GeneratedAnswerScorer())
    pipeline.add_component("joiner", AnswerJoiner(sort_by_score=sort_by_score))
    pipeline.connect("scorer.answers", "joiner.answers")
    return pipeline


def test_extracted_and_generated_answers_are_joined_by_score() -> None:
    extracted = [
        ExtractedAnswer(query=QUESTION, data="ten hours", score=0.8),
        ExtractedAnswer(query=QUESTION, data="a whole day", score=0.3),
    ]
    texts = ["a week", "the battery lasts ten hours", "a whole day"]
    generated = [GeneratedAnswer(text, QUESTION, REVIEWS[:1], {"score": -1.5}) for text in texts]
    pipeline = Pipeline.loads(joined().dumps(), allowed_modules=["qa_system.*"])
    found = pipeline.run(
        {"scorer": {"answers": generated, "extracted": extracted}, "joiner": {"answers": extracted}}
    )["joiner"]["answers"]
    scores = [(answer.data, answer.score) for answer in found]
    assert scores[0] == ("ten hours", 0.8)
    # Two of its four words are in the answer, whose two words are all there: F1 is 2/3.
    assert scores[1] == ("the battery lasts ten hours", pytest.approx(0.8 * 2 / 3))
    assert {text for text, _ in scores[2:4]} == {"a whole day"}
    assert scores[2][1] == scores[3][1] == 0.3
    assert scores[4] == ("a week", 0.0)


def test_where_the_reader_abstains_generated_answers_score_nothing() -> None:
    [answer] = GeneratedAnswerScorer().run([GeneratedAnswer("a week", QUESTION, [])], [])["answers"]
    assert answer.score == 0.0


def test_a_scored_answer_round_trips() -> None:
    answer = ScoredAnswer("ten hours", QUESTION, REVIEWS[:1], {"a": 1}, 0.5)
    again = ScoredAnswer.from_dict(answer.to_dict())
    assert again == answer
    assert isinstance(again, GeneratedAnswer)


class Recorded(tracing.Span):
    def __init__(self, name: str, parent: tracing.Span | None) -> None:
        self.name, self.parent, self.tags = name, parent, dict[str, Any]()

    def set_tag(self, key: str, value: Any) -> None:
        self.tags[key] = value


class Recorder(tracing.Tracer):
    def __init__(self) -> None:
        self.spans: list[Recorded] = []
        self.open: list[Recorded] = []

    @contextlib.contextmanager
    def trace(
        self,
        operation_name: str,
        tags: dict[str, Any] | None = None,
        parent_span: tracing.Span | None = None,
    ) -> Iterator[Recorded]:
        span = Recorded(operation_name, parent_span)
        span.set_tags(tags or {})
        self.spans.append(span)
        self.open.append(span)
        try:
            yield span
        finally:
            self.open.pop()

    def current_span(self) -> Recorded | None:
        return self.open[-1] if self.open else None

    def named(self, name: str) -> Recorded:
        [span] = [span for span in self.spans if span.name == name]
        return span


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(tracing.tracer, "actual_tracer", recorder)
    monkeypatch.setattr(tracing.tracer, "is_content_tracing_enabled", False)
    return recorder


COUNTED = {
    "qa_system.read.model": "bundled:reader",
    "qa_system.read.questions": 1,
    "qa_system.read.documents": 4,
    "qa_system.read.answers": 1,
}


@pytest.mark.parametrize("content", [False, True])
def test_the_reader_is_a_span_with_content_only_where_that_is_traced(
    recorder: Recorder, content: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing.tracer, "is_content_tracing_enabled", content)
    pipeline = Pipeline()
    pipeline.add_component("reader", ExtractiveReader(no_answer_threshold=-20, top_k=1))
    pipeline.run({"reader": {"query": QUESTION, "documents": REVIEWS}})
    span = recorder.named("qa_system.read")
    said = {"qa_system.read.queries": [QUESTION], "qa_system.read.texts": [["ten hours"]]}
    assert span.tags == ({**COUNTED, **said} if content else COUNTED)
    assert span.parent is not None
    assert span.parent.name == "haystack.component.run"
    # Haystack's own tag, which docs/haystack.md warns of.
    given = recorder.named("haystack.pipeline.run").tags["haystack.pipeline.input_data"]
    assert given["reader"]["query"] == QUESTION


def test_retrieval_is_traced_too(store: FAISSDocumentStore, recorder: Recorder) -> None:
    indexing(store).run({"embedder": {"documents": REVIEWS[:3]}})
    recorder.spans.clear()
    asking(store).run(ASKED)
    names = [span.name for span in recorder.spans if span.name.startswith("qa_system.")]
    assert names == ["qa_system.encode", "qa_system.dense", "qa_system.read"]


def test_a_stage_that_fails_ends_its_span(recorder: Recorder) -> None:
    with pytest.raises(ZeroDivisionError), stage("read"):
        raise ZeroDivisionError
    assert not recorder.open
