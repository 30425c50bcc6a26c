"""What a retriever learns from: pairs, negatives, and what stands in for labels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.errors import ConfigError, DataError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label, Review
from qa_system.training.negatives import answering_texts, ranked_by_bm25
from qa_system.training.recipes import RetrieverNegatives, RetrieverTraining, load_training
from qa_system.training.retriever.evaluate import Contest, contest_of, measure
from qa_system.training.retriever.examples import (
    Pair,
    Triple,
    labelled_pairs,
    passage_cutter,
    with_negatives,
)
from qa_system.training.retriever.pseudo_labels import asked_in, cloze_pairs, judge, to_judge


def whole(text):
    return [(0, len(text))]


def by_sentence(text):
    starts = [0, *(place + 2 for place, sign in enumerate(text) if text[place : place + 2] == ". ")]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), len(text)], strict=True))


def label(question, item_id, text, *answers, unlocated=()):
    spans = tuple(
        AnswerSpan(said, text.index(said), text.index(said) + len(said)) for said in answers
    )
    meta = {UNLOCATED: list(unlocated)} if unlocated else {}
    return Label(question, question, item_id, text, text, spans, meta=meta)


SOUND = label("How is the sound?", "A", "Came quickly. The sound is great.", "sound is great")
SAME = label("How is the sound?", "A", "Sound quality is superb.", "superb")
OTHER = label("How is the sound?", "B", "Awful sound.", "Awful")
OFF_TOPIC = label("How is the sound?", "A", "I asked for the sound of blue.")
PRICE = label("Is it cheap?", "A", "A cheap thing with no sound.", "cheap")
LABELS = [SOUND, SAME, OTHER, OFF_TOPIC, PRICE]
TEXTS = {each.context: each.item_id for each in LABELS} | {"A lamp.": "C"}


def answering():
    known = {}
    for (question, _), texts in answering_texts(LABELS).items():
        known.setdefault(question, set()).update(texts)
    return known


def test_a_pair_is_the_passage_that_holds_the_answer():
    pairs, counts = labelled_pairs([SOUND], by_sentence)
    assert pairs == [Pair("How is the sound?", "A", "The sound is great.", SOUND.context)]
    assert counts == {"pairs": 1}


def test_answers_in_two_passages_make_two_pairs_and_in_none_are_counted():
    two = label("Why?", "A", "It is red. It is big.", "red", "big")
    assert [pair.passage for pair in labelled_pairs([two], by_sentence)[0]] == [
        "It is red.",
        "It is big.",
    ]
    across = label("Why?", "A", "It is red. It is big.", "red. It")
    assert labelled_pairs([across], by_sentence) == ([], Counter(beyond=1))


def test_an_answer_that_was_not_located_counts_where_there_is_one_passage():
    lost = label("Why?", "A", "It is red. It is big.", unlocated=["crimson"])
    assert [pair.passage for pair in labelled_pairs([lost], whole)[0]] == [lost.context]
    assert labelled_pairs([lost], by_sentence) == ([], Counter(unlocated=1))
    assert labelled_pairs([OFF_TOPIC], whole) == ([], Counter())


def test_no_text_known_to_answer_is_a_negative_whichever_item_it_is_of():
    pairs, _ = labelled_pairs([SOUND], whole)
    for seed in range(4):
        wanted = RetrieverNegatives(same_item=3, other_item=2)
        [triple], counts = with_negatives(pairs, TEXTS, answering(), wanted, whole, seed)
        assert set(triple.negatives) <= {OFF_TOPIC.context, PRICE.context, "A lamp."}
        assert len(triple.negatives) == 5
        assert {OFF_TOPIC.context, PRICE.context} <= set(triple.negatives)
        assert counts == {"same_item": 2, "at_random": 3}


def test_negatives_of_the_same_item_are_the_ones_that_bm25_finds():
    texts = {f"Nothing at all, number {n}.": "A" for n in range(30)}
    texts |= {f"The sound, part {n}.": "A" for n in range(10)}
    pair = Pair("How is the sound?", "A", "The sound, part 0.", "The sound, part 0.")
    wanted = RetrieverNegatives(same_item=4)
    [triple], _ = with_negatives([pair], texts, {}, wanted, whole, seed=1)
    assert all(text.startswith("The sound") for text in triple.negatives)
    assert pair.passage not in triple.negatives


def test_negatives_of_other_items_are_never_of_the_same():
    pairs, _ = labelled_pairs([PRICE], whole)
    wanted = RetrieverNegatives(same_item=0, other_item=1)
    texts = {**TEXTS, "Cheap it is, and it is cheap.": "C"}
    [triple], _ = with_negatives(pairs, texts, {}, wanted, whole, seed=1)
    assert texts[triple.negatives[0]] in {"B", "C"}


def test_without_anything_that_does_not_answer_there_are_no_negatives():
    pairs, _ = labelled_pairs([SOUND], whole)
    with pytest.raises(DataError, match="every text answers"):
        with_negatives(pairs, {SOUND.context: "A"}, {}, RetrieverNegatives(), whole, seed=1)


def test_no_negatives_may_be_asked_for():
    pairs, _ = labelled_pairs([SOUND], whole)
    none = RetrieverNegatives(same_item=0, other_item=0)
    assert with_negatives(pairs, TEXTS, {}, none, whole, seed=1)[0] == [
        Triple("How is the sound?", SOUND.context, ())
    ]


def test_bm25_keeps_to_the_item():
    found = ranked_by_bm25(TEXTS, [("sound", "B"), ("sound", None)], top_k=10)
    assert found["sound", "B"] == [OTHER.context]
    assert len(found["sound", None]) >= 4


@given(st.lists(st.sampled_from(["It is red.", "It is a big box.", "Why?", "I like it a lot!"])))
def test_a_cloze_is_a_sentence_and_the_rest_of_its_passage(sentences):
    text = " ".join(sentences)
    for pair in cloze_pairs({text: "A"}, whole, seed=3):
        assert pair.question in sentences
        assert len(pair.question.split()) >= 4
        rest = list(sentences)
        rest.remove(pair.question)
        assert sorted(pair.passage.split()) in (
            sorted(" ".join(rest).split()),
            sorted(text.split()),
        )


def test_the_sentence_stays_in_one_passage_of_ten():
    texts = {f"Box {n} is a big one. I like it a lot." * 1: "A" for n in range(1000)}
    kept = sum(pair.question in pair.passage for pair in cloze_pairs(texts, whole, seed=1))
    assert 70 <= kept <= 130


def test_questions_of_a_file_are_asked_about_their_item_or_about_some(tmp_path):
    path = tmp_path / "asked.txt"
    path.write_text("How is the sound?\tA\n\n  Is it loud?  \n", encoding="utf-8")
    asked = asked_in(path, ["A", "B", "C", None], items_per_question=2, seed=1)
    assert asked[0] == ("How is the sound?", "A")
    assert [question for question, _ in asked[1:]] == ["Is it loud?"] * 2
    assert len({item for _, item in asked[1:]}) == 2
    assert asked_in(path.with_name("asked.txt"), ["A"], 9, 1)[1:] == [("Is it loud?", "A")]


def test_questions_of_no_item_are_asked_about_all_texts(tmp_path):
    path = tmp_path / "asked.txt"
    path.write_text("Is it loud?\n", encoding="utf-8")
    assert asked_in(path, [None], 4, 1) == [("Is it loud?", None)]


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no question"), ("\n \n", "no question"), ("Why?\tZ", "no text of the item 'Z'")],
)
def test_a_file_without_questions_that_can_be_asked_is_refused(tmp_path, content, said):
    path = tmp_path / "asked.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        asked_in(path, ["A"], 4, 1)
    with pytest.raises(DataError, match="cannot be read"):
        asked_in(tmp_path / "nothing", ["A"], 4, 1)


def test_a_teacher_judges_the_items_best_and_others_to_fill_up():
    [(question, passages)] = to_judge([("How is the sound?", "A")], TEXTS, 5, whole, seed=1)
    assert question == "How is the sound?"
    assert len(set(passages)) == 5
    assert {text for text, item in TEXTS.items() if item == "A"} <= set(passages)
    with pytest.raises(DataError, match="6 passages"):
        to_judge([("How is the sound?", "A")], TEXTS, 7, whole, seed=1)


def test_what_a_teacher_says_stays_with_its_passages_in_their_order():
    groups = [(f"q{n}", (f"{n}", f"{n + 1}")) for n in range(40)]

    def teacher(some):
        return [[float(text) for text in passages] for _, passages in some]

    judged = judge(groups, teacher)
    assert [(each.question, each.passages) for each in judged] == groups
    assert all(each.scores == tuple(map(float, each.passages)) for each in judged)


def test_a_passage_without_any_span_is_the_worst_and_finite():
    [judged] = judge([("q", ("a", "b"))], lambda some: [[-np.inf, 1.0] for _ in some])
    assert np.isfinite(judged.scores).all()
    assert judged.scores[0] < -20


def test_reviews_of_the_item_compete_by_their_best_passage():
    reviews = [
        Review("r1", "A", "x. z."),
        Review("r2", "A", "y. x."),
        Review("r3", "B", "x."),
    ]
    asked = [Label("q", "x", "A", "r2", "y. x.", (AnswerSpan("x", 3, 4),))]
    contest = contest_of(asked, reviews, by_sentence)
    assert contest.passages == ("x.", "z.", "y.", "x.")
    assert [[list(text) for text in pool] for pool in contest.pools] == [[[2, 3], [0, 1]]]
    table = {"x": [1, 0], "x.": [0.6, 0.8], "y.": [1, 0], "z.": [0, 1]}

    def encode(texts):
        return np.array([table[text] for text in texts], np.float32)

    assert measure([contest], encode, encode) == {"mrr": 1.0, "recall@1": 1.0}


def test_contests_count_alike_and_equals_are_in_random_order():
    def encode(texts):
        return np.ones((len(texts), 1), np.float32)

    alone = Contest(("q",), ("a",), (([0],),))
    among = Contest(("q", "q"), ("a", "b", "c", "d"), (([0], [1], [2], [3]),) * 2)
    assert measure([alone, among], encode, encode) == {
        "mrr": pytest.approx((1 + (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4) / 2),
        "recall@1": (1 + 1 / 4) / 2,
    }


def test_without_an_answer_there_is_nothing_to_measure_on():
    with pytest.raises(DataError, match="has an answer"):
        contest_of([OFF_TOPIC], [Review("r", "A", "x")], whole)


def test_a_passage_ends_where_the_encoder_stops_to_read():
    cut = passage_cutter(4, 0, lambda text: min(len(text), 9))
    text = "It is red. It is very big and it is blue."
    assert [text[start:end] for start, end in cut(text)] == ["It is red", "It is ver", "and it is"]


RECIPE = {"model": "m", "train": [{"path": "p"}], "dev": [{"path": "p"}]}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"labels": "teacher"}, "teacher"),
        ({"teacher": {"model": "bundled:reader"}}, "teacher"),
        ({"labels": "guessed"}, "labels"),
        ({"towers": "three"}, "towers"),
        ({"negatives": {"same_item": -1}}, "negatives.same_item"),
        ({"tower": "one"}, "tower"),
    ],
)
def test_what_a_recipe_cannot_mean_is_named(wrong, said):
    assert load_training(RetrieverTraining, None, RECIPE).towers == "one"
    with pytest.raises(ConfigError, match=said):
        load_training(RetrieverTraining, None, RECIPE | wrong)
