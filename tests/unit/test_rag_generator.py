"""The component: questions and documents in, answers with what carried them out."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from haystack import Document, Pipeline

import tiny_models as tiny
from qa_system.errors import (
    ConfigError,
    DataError,
    EmptyQuestionError,
    ModelError,
    QuestionTooLongError,
)
from qa_system.generators.beams import BeamSearch, sequence_beams, token_beams
from qa_system.generators.facts import GeneratorFacts, write_facts
from qa_system.generators.rag import RAGGenerator
from qa_system.generators.seq2seq import load_seq2seq
from qa_system.models.locate import locate
from qa_system.stages import timed

QUESTION = "How long does the battery last?"
REVIEWS = [
    Document(id="a", content="The battery lasts ten hours.", score=0.3),
    Document(id="b", content="Cheap strap, broke after one week.", score=0.9),
    Document(id="c", content="The screen is bright and the sound is loud.", score=-0.2),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tiny.save_seq2seq(tmp_path_factory.mktemp("bart"), tiny.tiny_bart(seed=1)))


def generator_in(folder: str, **settings) -> RAGGenerator:
    chosen = {"num_beams": 3, "max_length": 8, "device": "cpu", "precision": "fp32"}
    return RAGGenerator(folder, **(chosen | settings))


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_answers_are_those_of_the_beam_search(folder, mode):
    component = generator_in(folder, mode=mode, top_k=2, score_scale=3.0)
    [found] = component.generate([QUESTION], [REVIEWS])
    model = load_seq2seq(locate(folder), device="cpu", precision="fp32")
    sources = model.source_ids(QUESTION, [review.content for review in REVIEWS])
    find = token_beams if mode == "token" else sequence_beams
    scores = [3.0 * review.score for review in REVIEWS]
    [expected] = find(model, [sources], [scores], BeamSearch(3, 8))
    assert [answer.text for answer in found] == [model.decode(h.ids) for h in expected[:2]]
    for answer, hypothesis in zip(found, expected, strict=False):
        assert answer.log_probability == pytest.approx(hypothesis.log_probability)
        assert answer.score == pytest.approx(hypothesis.score)
        assert answer.posterior == pytest.approx(hypothesis.posterior)
        assert sum(answer.posterior) == pytest.approx(1, abs=1e-5)


def test_an_answer_brings_its_documents_best_first(folder):
    component = generator_in(folder)
    [answer] = component.run(QUESTION, REVIEWS)["answers"]
    [[generated]] = component.generate([QUESTION], [REVIEWS])
    assert (answer.data, answer.query) == (generated.text, QUESTION)
    shares = [answer.meta["posterior"][document.id] for document in answer.documents]
    assert shares == sorted(shares, reverse=True)
    assert {document.id for document in answer.documents} == {"a", "b", "c"}
    assert answer.meta["posterior"]["b"] == generated.posterior[1]
    assert answer.meta["log_probability"] == generated.log_probability
    assert answer.meta["score"] == generated.score


def test_nothing_to_read_is_no_answer_and_loads_no_model():
    component = RAGGenerator("/no/such/folder")
    assert component.run(QUESTION, []) == {"answers": []}
    assert component.run(QUESTION, [Document(content=None), Document(content="  ")]) == {
        "answers": []
    }


def test_a_document_without_text_is_passed_over(folder):
    component = generator_in(folder)
    empty = Document(id="e", content=None, score=5.0)
    [[with_it]] = component.generate([QUESTION], [[REVIEWS[0], empty, REVIEWS[1]]])
    [[without]] = component.generate([QUESTION], [REVIEWS[:2]])
    assert with_it.text == without.text
    assert with_it.posterior == pytest.approx((without.posterior[0], 0.0, without.posterior[1]))


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_many_questions_are_answered_as_each_alone(folder, mode):
    questions = [QUESTION, "Is it red?", "How is the sound?", "Is the strap good or not?"]
    documents = [REVIEWS, REVIEWS[:1], [], REVIEWS[1:]]
    alone = generator_in(folder, mode=mode, batch_tokens=1)
    together = generator_in(folder, mode=mode).generate(questions, documents)
    assert together[2] == []
    for at, (question, own) in enumerate(zip(questions, documents, strict=True)):
        [found] = alone.generate([question], [own])
        assert [each.text for each in found] == [each.text for each in together[at]]
        for one, other in zip(found, together[at], strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, rel=1e-5)
            assert one.posterior == pytest.approx(other.posterior, abs=1e-4)
    in_turn = alone.generate(questions, documents)
    assert [[a.text for a in own] for own in in_turn] == [[a.text for a in own] for own in together]


def test_without_scores_documents_are_alike(folder):
    component = generator_in(folder)
    unscored = [Document(id=each.id, content=each.content) for each in REVIEWS]
    equal = [Document(id=each.id, content=each.content, score=7.0) for each in REVIEWS]
    [[one]] = component.generate([QUESTION], [unscored])
    [[other]] = component.generate([QUESTION], [equal])
    assert one == other


@pytest.mark.parametrize("score", [None, math.nan, math.inf])
def test_a_score_that_is_missing_among_others_is_named(folder, score):
    mixed = [REVIEWS[0], Document(id="x", content="red", score=score)]
    with pytest.raises(DataError, match="document x"):
        generator_in(folder).run(QUESTION, mixed)


def test_the_prior_pulls_the_answer(folder):
    component = generator_in(folder)
    for best in range(3):
        scored = [
            Document(id=each.id, content=each.content, score=100.0 * (at == best))
            for at, each in enumerate(REVIEWS)
        ]
        [[found]] = component.generate([QUESTION], [scored])
        [[alone]] = component.generate([QUESTION], [[REVIEWS[best]]])
        assert found.text == alone.text
        assert found.posterior[best] == pytest.approx(1)


def test_a_prior_of_ones_own_takes_the_scores_place(folder):
    component = generator_in(folder, score_scale=3.0)
    unscored = [Document(id=each.id, content=each.content) for each in REVIEWS]
    prior = [3.0 * review.score + 7.0 for review in REVIEWS]  # a constant changes nothing
    [by_scores] = component.generate([QUESTION], [REVIEWS])
    [by_prior] = component.generate([QUESTION], [unscored], prior=[prior])
    for one, other in zip(by_scores, by_prior, strict=True):
        assert one.text == other.text
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)
    with pytest.raises(ConfigError, match="a prior for"):
        component.generate([QUESTION], [REVIEWS], prior=[prior[:2]])


def test_settings_of_training_hold_unless_others_are_given(folder, tmp_path):
    trained = tmp_path / "trained"
    tiny.save_seq2seq(trained, tiny.tiny_bart(seed=1))
    facts = GeneratorFacts("{question} [SEP] {text}", 64, 5, 20.0, "sequence")
    write_facts(trained, facts)
    component = RAGGenerator(str(trained), device="cpu", precision="fp32")
    component.warm_up()
    assert component._loaded.mode == "sequence"
    assert component._loaded.search.max_length == 5
    assert component._loaded.generator.score_scale == 20.0
    told = generator_in(str(trained), mode="token", score_scale=1.0)
    told.warm_up()
    assert (told._loaded.mode, told._loaded.search.max_length) == ("token", 8)
    assert told._loaded.generator.score_scale == 1.0


def test_abstention_ends_the_answers(folder, tmp_path):
    model = tiny.tiny_bart(seed=1)
    model.final_logits_bias[0, tiny.EOS] = 50.0
    abstains = generator_in(str(tiny.save_seq2seq(tmp_path / "abstains", model)), top_k=3)
    assert abstains.run(QUESTION, REVIEWS) == {"answers": []}


def test_answers_of_the_same_words_are_one(folder):
    component = generator_in(folder, num_beams=8, top_k=8)
    [found] = component.generate([QUESTION], [REVIEWS])
    texts = [answer.text for answer in found]
    assert len(texts) == len(set(texts)) > 1
    assert all(texts)
    assert len(component.generate([QUESTION], [REVIEWS], top_k=1)[0]) == 1


def test_it_survives_a_pipeline_in_yaml(folder):
    component = generator_in(
        folder, mode="sequence", thorough=False, top_k=2, length_penalty=0.5, threads=1
    )
    pipeline = Pipeline()
    pipeline.add_component("generator", component)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["qa_system.*"])
    assert again.get_component("generator").to_dict() == component.to_dict()
    found = again.run({"generator": {"query": QUESTION, "documents": REVIEWS}})
    there = [answer.data for answer in found["generator"]["answers"]]
    assert there == [answer.data for answer in component.run(QUESTION, REVIEWS)["answers"]]


def test_many_threads_may_ask(folder):
    component = generator_in(folder)
    questions = [QUESTION, "Is it red?", "How is the sound?"] * 3
    expected = [component.run(question, REVIEWS)["answers"][0].data for question in questions]
    fresh = generator_in(folder)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda q: fresh.run(q, REVIEWS)["answers"][0].data, questions))
    assert found == expected


def test_its_time_is_a_stage(folder):
    component = generator_in(folder)
    with timed() as timings:
        component.run(QUESTION, REVIEWS)
    assert timings["generate"] > 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 6}, "beams"),
        ({"max_length": 1}, "max_length"),
        ({"mode": "both"}, "mode"),
        ({"length_penalty": math.nan}, "length_penalty"),
        ({"score_scale": math.inf}, "score_scale"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"threads": 0}, "threads"),
        ({"max_source_length": 1}, "max_source_length"),
    ],
)
def test_settings_out_of_range_are_refused(settings, named):
    with pytest.raises(ConfigError, match=named):
        RAGGenerator("x/y", **settings)


def test_what_cannot_be_asked_is_refused(folder):
    component = generator_in(folder)
    with pytest.raises(EmptyQuestionError, match="question 2"):
        component.generate([QUESTION, " "], [REVIEWS, REVIEWS])
    with pytest.raises(ConfigError, match="lists of documents"):
        component.generate([QUESTION], [])
    with pytest.raises(ConfigError, match="top_k"):
        component.run(QUESTION, REVIEWS, top_k=4)
    with pytest.raises(QuestionTooLongError):
        component.run("is it red " * 60, REVIEWS)
    with pytest.raises(ConfigError, match="128 positions"):
        generator_in(folder, max_length=200).warm_up()
    with pytest.raises(ModelError, match="no model"):
        RAGGenerator("/no/such/folder").warm_up()
