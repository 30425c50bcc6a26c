"""Rankers against reading one by one, and the pipelines and systems that have one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from haystack import Document

from qa_system import QASystem, Question, pipelines
from qa_system.config import Settings, load_settings
from qa_system.doctor import examine
from qa_system.errors import ConfigError, EmptyQuestionError, ModelError
from qa_system.rankers.reader_ranker import ReaderRanker, ranked
from qa_system.readers.extractive import ExtractiveReader
from qa_system.stores.faiss import FAISSDocumentStore

QUESTION = "How long does the battery last?"
TEXTS = [
    "Came in a nice box.",
    "Light and small. The battery lasts ten hours, sometimes eleven.",
    "My son loves the colour. " * 60 + "The battery died on day two.",
    "ok",
]
DOCUMENTS = [
    Document(id=f"r{number}", content=text, score=float(-number))
    for number, text in enumerate(TEXTS)
]
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.6,
}

Save = Callable[[Any, Path], Path]


@pytest.fixture(scope="module")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> Path:
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(13)
    model = BertForQuestionAnswering(BertConfig(**TINY))
    return save_checkpoint(model, tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> Path:
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(13)
    model = BertForSequenceClassification(BertConfig(**TINY, num_labels=1))
    return save_checkpoint(model, tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture(scope="module")
def reader(tiny_reader: Path) -> ExtractiveReader:
    return ExtractiveReader(str(tiny_reader), precision="fp32", device="cpu")


class TestReaderRanker:
    def test_it_orders_as_reading_one_by_one_does(self, reader: ExtractiveReader) -> None:
        alone = {
            document.id: reader.read([QUESTION], [[document]], 1)[0].candidates[0].meta["log_odds"]
            for document in DOCUMENTS
        }
        found = ReaderRanker(reader).run(QUESTION, DOCUMENTS)["documents"]
        assert [document.id for document in found] == sorted(alone, key=lambda id_: -alone[id_])
        for document in found:
            assert document.score == pytest.approx(alone[document.id], abs=1e-3)
            assert document.content == TEXTS[int(document.id[1])]
        assert DOCUMENTS[0].score == 0.0, "a document that went in is not changed"

    def test_equals_keep_their_order_and_no_text_comes_last(self, reader: ExtractiveReader) -> None:
        variants = [Document(id=name, content=TEXTS[1]) for name in "cab"]
        found = ReaderRanker(reader).run(QUESTION, [Document(id="none"), *variants])["documents"]
        assert [document.id for document in found] == ["c", "a", "b", "none"]
        assert found[-1].score == float("-inf")

    def test_top_k(self, reader: ExtractiveReader) -> None:
        ranker = ReaderRanker(reader, top_k=2)
        assert len(ranker.run(QUESTION, DOCUMENTS)["documents"]) == 2
        assert len(ranker.run(QUESTION, DOCUMENTS, top_k=3)["documents"]) == 3
        assert ranker.run(QUESTION, [])["documents"] == []
        for wrong in (0, -1):
            with pytest.raises(ConfigError, match="top_k"):
                ReaderRanker(reader, top_k=wrong)
            with pytest.raises(ConfigError, match="top_k"):
                ranker.run(QUESTION, DOCUMENTS, top_k=wrong)

    def test_the_retriever_has_a_say_by_the_prior(self) -> None:
        """Scores 10, 5, 0 are a share of 1, 1/2, 0 of the prior."""
        documents = [
            Document(id=name, content="x", score=score)
            for name, score in (("a", 10.0), ("b", 5.0), ("c", 0.0))
        ]
        log_odds = [0.0, 1.0, 3.0]
        assert [(d.id, d.score) for d in ranked(documents, log_odds)] == [
            ("c", 3.0),
            ("b", 1.0),
            ("a", 0.0),
        ]
        assert [(d.id, d.score) for d in ranked(documents, log_odds, prior=5.0)] == [
            ("a", 5.0),
            ("b", 3.5),
            ("c", 3.0),
        ]
        assert ranked([], [], prior=5.0) == []

    @pytest.mark.parametrize("prior", [-1.0, float("nan")])
    def test_a_prior_is_no_penalty(self, reader: ExtractiveReader, prior: float) -> None:
        with pytest.raises(ConfigError, match="prior"):
            ReaderRanker(reader, prior=prior)

    def test_it_serialises_every_argument(self, reader: ExtractiveReader) -> None:
        data = ReaderRanker(reader, top_k=7, prior=2.0).to_dict()
        again = ReaderRanker.from_dict(ReaderRanker(reader, top_k=7, prior=2.0).to_dict())
        assert again.to_dict() == data
        assert (again.top_k, again.prior, again.reader.model) == (7, 2.0, reader.model)

    def test_the_reader_and_the_ranker_have_one_model_in_memory(
        self, reader: ExtractiveReader, tiny_reader: Path
    ) -> None:
        again = ReaderRanker(ExtractiveReader(str(tiny_reader), precision="fp32", device="cpu"))
        longer = ExtractiveReader(str(tiny_reader), precision="fp32", device="cpu", top_k=5)
        backend = reader._ready().backend
        assert again.reader._ready().backend is backend is longer._ready().backend
        other = ExtractiveReader(str(tiny_reader), precision="bf16", device="cpu")
        assert other._ready().backend is not backend

    def test_a_question_has_words(self, reader: ExtractiveReader) -> None:
        with pytest.raises(EmptyQuestionError):
            ReaderRanker(reader).run("  ", DOCUMENTS)


def plain_logit(folder: Path, text: str | None, **options: Any) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        encoded = tokenizer(QUESTION, text, truncation=True, return_tensors="pt", **options)
        return float(model(**encoded).logits)


class TestCrossEncoderRanker:
    def test_it_orders_by_the_logits_of_each_pair(self, cross_encoder: Path) -> None:
        from qa_system.rankers.cross_encoder import CrossEncoderRanker, rank_by

        ranker = rank_by(str(cross_encoder), device="cpu", top_k=10)
        expected = {
            document.id: plain_logit(cross_encoder, document.content) for document in DOCUMENTS
        }
        found = ranker.run(QUESTION, DOCUMENTS)["documents"]
        assert [document.id for document in found] == sorted(expected, key=lambda i: -expected[i])
        for document in found:
            assert document.score == pytest.approx(expected[document.id], abs=1e-3)
        assert len(ranker.run(QUESTION, DOCUMENTS, top_k=2)["documents"]) == 2
        assert ranker.run(QUESTION, [])["documents"] == []

        again = CrossEncoderRanker.from_dict(ranker.to_dict())
        assert again.to_dict() == ranker.to_dict()
        assert again.run(QUESTION, DOCUMENTS)["documents"] == found

    def test_brackets_in_a_text_are_letters(self, cross_encoder: Path) -> None:
        from qa_system.rankers.cross_encoder import rank_by

        typed = "Was 20, [SEP] now 15 [MASK]"
        ranker = rank_by(str(cross_encoder), device="cpu", top_k=10)
        [found] = ranker.run(QUESTION, [Document(content=typed)])["documents"]
        letters = plain_logit(cross_encoder, typed, split_special_tokens=True)
        assert found.score == pytest.approx(letters, abs=1e-4)
        assert abs(letters - plain_logit(cross_encoder, typed)) > 1e-3

    def test_a_pair_is_cut_to_the_positions(self, tmp_path: Path) -> None:
        import torch
        from transformers import RobertaConfig, RobertaForSequenceClassification

        from architectures import AFTER_PADDING, SIZES, fast, tokenizer_of
        from qa_system.rankers.cross_encoder import rank_by

        torch.manual_seed(13)
        tokenizer = tokenizer_of("roberta")
        config = RobertaConfig(
            vocab_size=tokenizer.get_vocab_size(), num_labels=1, **SIZES, **AFTER_PADDING
        )
        RobertaForSequenceClassification(config).save_pretrained(tmp_path)
        fast(tokenizer).save_pretrained(tmp_path)
        ranker = rank_by(str(tmp_path), device="cpu", top_k=10)
        found = ranker.run(QUESTION, [Document(content="two days " * 300)])["documents"]
        assert len(found) == 1

    def test_many_threads_may_use_it(self, cross_encoder: Path) -> None:
        from qa_system.rankers.cross_encoder import rank_by

        ranker = rank_by(str(cross_encoder), device="cpu", top_k=10)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: ranker.run(QUESTION, DOCUMENTS), range(24)))
        assert all(each == found[0] for each in found)

    def test_what_is_no_cross_encoder_is_refused(
        self, tiny_reader: Path, cross_encoder: Path, save_checkpoint: Save, tmp_path: Path
    ) -> None:
        from transformers import BertConfig, BertForSequenceClassification

        from qa_system.rankers.cross_encoder import rank_by

        two = BertForSequenceClassification(BertConfig(**TINY, num_labels=2))
        save_checkpoint(two, tmp_path / "two")
        damaged = tmp_path / "damaged"
        damaged.mkdir()
        for file in cross_encoder.iterdir():
            (damaged / file.name).write_bytes(
                file.read_bytes()[: 1000 if "safe" in file.name else None]
            )
        for name, what in (
            (str(tiny_reader), "BertForQuestionAnswering"),
            (str(tmp_path / "two"), "single score"),
            (str(damaged), "cannot be loaded"),
            (str(tmp_path / "missing"), "there is no model"),
            ("bundled:reader", "no config.json"),
        ):
            with pytest.raises(ModelError, match=what):
                rank_by(name, device="cpu", top_k=3).warm_up()
        with pytest.raises(ModelError, match="torch knows no device"):
            rank_by(str(cross_encoder), device="toaster", top_k=3)


REVIEWS = {
    "r1": "The light is warm and bright enough for reading in bed.",
    "r2": "Stopped working after a week. Returned it.",
    "r3": "Arrived quickly, nicely packed.",
    "r4": "Bright orange. Reading is pleasant. The light is bright.",
    "r5": "Light as a feather.",
}
BRIGHT = "Is the light bright enough to read?"
ASKED = {
    "query": BRIGHT,
    "filters": {"field": "meta.item_id", "operator": "==", "value": "lamp"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranked") / "store"


@pytest.fixture(scope="module")
def store(place: Path) -> Iterator[FAISSDocumentStore]:
    with FAISSDocumentStore(place) as store:
        store.write_documents(
            [
                Document(id=id_, content=text, meta={"item_id": "lamp", "review_id": id_})
                for id_, text in REVIEWS.items()
            ]
        )
        yield store


@pytest.fixture
def settings_for(tiny_reader: Path, cross_encoder: Path) -> Callable[..., Settings]:
    def make(kind: str, **more: Any) -> Settings:
        given = {
            "retriever.mode": "bm25",
            "retriever.top_k": 2,
            "ranker.type": kind,
            "ranker.model": str(cross_encoder) if kind == "cross_encoder" else None,
            "ranker.device": "cpu",
            "reader.model": str(tiny_reader),
            "reader.precision": "fp32",
            "reader.device": "cpu",
            "reader.no_answer_threshold": -1000.0,
        }
        return load_settings(None, given | more, environ={})

    return make


class TestPipelines:
    @pytest.mark.parametrize("kind", ["none", "reader", "cross_encoder"])
    def test_the_best_of_the_candidates_come_out_and_it_round_trips(
        self, store: FAISSDocumentStore, settings_for: Callable[..., Settings], kind: str
    ) -> None:
        settings = settings_for(kind)
        pipeline = pipelines.retrieve(store, settings)
        last = pipelines.last(settings)
        found = pipeline.run(ASKED)[last]["documents"]
        assert len(found) == 2
        assert found[0].score >= found[1].score
        everything = settings.model_copy(
            update={"retriever": settings.retriever.model_copy(update={"top_k": 5})}
        )
        ordered = pipelines.retrieve(store, everything).run(ASKED)[last]["documents"]
        assert len(ordered) == 5
        assert found == ordered[:2]
        again = pipelines.load(pipeline.dumps()).run(ASKED)[last]["documents"]
        assert again == found

    def test_a_ranker_of_a_smaller_pool_changes_less(
        self, store: FAISSDocumentStore, settings_for: Callable[..., Settings]
    ) -> None:
        plain = pipelines.retrieve(store, settings_for("none")).run(ASKED)
        few = settings_for("cross_encoder", **{"ranker.candidates": 1})
        ranked_few = pipelines.retrieve(store, few).run(ASKED)
        assert {document.id for document in ranked_few["ranker"]["documents"]} == {
            document.id for document in plain["retriever"]["documents"]
        }, "never fewer candidates than documents wanted"

    @pytest.mark.parametrize("kind", ["reader", "cross_encoder"])
    def test_the_extract_pipeline_has_it_too(
        self, store: FAISSDocumentStore, settings_for: Callable[..., Settings], kind: str
    ) -> None:
        pipeline = pipelines.extract(store, settings_for(kind))
        # A reader that ranks for itself is in there once.
        assert ("ranker" in pipeline.graph.nodes) == (kind == "cross_encoder")
        result = pipeline.run(ASKED)["reader"]
        again = pipelines.load(pipeline.dumps()).run(ASKED)["reader"]
        assert [a.data for a in again["answers"]] == [a.data for a in result["answers"]]
        assert result["answers"]

    def test_another_reader_may_rank(
        self,
        store: FAISSDocumentStore,
        settings_for: Callable[..., Settings],
        tiny_reader: Path,
    ) -> None:
        settings = settings_for(
            "reader", **{"ranker.model": str(tiny_reader), "reader.model": "bundled:reader"}
        )
        assert pipelines.to_read(settings) == settings
        pipeline = pipelines.extract(store, settings)
        assert pipeline.get_component("ranker").reader.model == str(tiny_reader)
        assert pipeline.get_component("reader").model == "bundled:reader"

    def test_a_cross_encoder_has_to_be_named(self) -> None:
        with pytest.raises(ConfigError, match="needs a model"):
            load_settings(None, {"ranker.type": "cross_encoder"}, environ={})


class TestSystem:
    def test_a_reader_that_ranks_reads_once_and_answers_as_if_it_had_ranked_first(
        self, store: FAISSDocumentStore, place: Path, settings_for: Callable[..., Settings]
    ) -> None:
        store.close()
        there = {"store.path": str(place)}
        with QASystem(settings_for("reader", **there, **{"ranker.prior": 3.0})) as ranking:
            [found] = ranking.examine([Question(BRIGHT, "lamp")], top_k=2)
        whole = {"retriever.top_k": 30, "reader.evidence": "reviews"}
        with QASystem(settings_for("none", **there, **whole)) as plain:
            [everything] = plain.examine([Question(BRIGHT, "lamp")], top_k=2)
        assert found.answers.answers == everything.answers.answers
        assert found.answers.reviews_read == 5
        assert list(found.documents) == ranked(
            everything.documents, everything.reading.log_odds, prior=3.0
        )

    def test_doctor_looks_at_the_rankers_model(self, cross_encoder: Path, tmp_path: Path) -> None:
        def finding(model: Path) -> Any:
            given = ["ranker.type=cross_encoder", f"ranker.model={model}"]
            [found] = [each for each in examine(None, given) if each.name == "ranker"]
            return found

        assert finding(cross_encoder).ok
        missing = finding(tmp_path / "missing")
        assert missing.required
        assert not missing.ok
        assert "ranker" not in {each.name for each in examine()}
