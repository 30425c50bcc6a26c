"""What an item's reviews speak of: phrases, what means the same, and the clauses that name it."""

import numpy as np
import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from qa_system.aspects.finding import find_aspects
from qa_system.aspects.mentions import clauses, clauses_naming
from qa_system.aspects.phrases import Catalogue, phrases_of
from qa_system.aspects.words import is_content, is_nominal, is_of_product, is_topic, words
from qa_system.digests.records import Digest
from qa_system.digests.versions import is_stale

VOCABULARY = "The battery life is great but however lid lids leaks . ! ; , - this my I 5 é"
WORDS = st.sampled_from([*VOCABULARY.split(), "\n"])
TEXTS = st.lists(WORDS, max_size=30).map(" ".join)


def neighbours(text, word):
    found = words(text)
    [at] = [place for place, each in enumerate(found) if each.text == word]
    return found[at - 1] if at else None, found[at + 1] if at + 1 < len(found) else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the lid", True),
        ("a great lid that", True),
        ("of lid", True),
        ("I lid the jar", False),
        ("to lid", False),
        ("very lid", False),
        ("my lid the", False),
        ("the lid hinge", None),
        ("lid broke", None),
    ],
)
def test_where_nouns_stand(text, expected):
    assert is_nominal(*neighbours(text, "lid")) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("the lid", True), ("its lid", True), ("my lid", False), ("lid", None)]
)
def test_whose_a_noun_is(text, expected):
    assert is_of_product(neighbours(text, "lid")[0]) is expected


def test_something_is_said_of_a_topic():
    found = [is_topic(neighbours(text, "lid")[1]) for text in ("the lid is", "lid", "the lid i")]
    assert found == [True, False, False]


def test_words_that_name_an_aspect():
    found = words("The customers' HDMI-port broke, 5 stars for speed; bored, isn't it.")
    assert [word.text for word in found if is_content(word)] == ["hdmi", "port", "speed"]


def test_a_catalogue_counts_how_words_are_used():
    catalogue = Catalogue()
    catalogue.add("The lid is tight. Its lid broke. My lid. I lid the jar.")
    catalogue.add("Nothing about it.")
    assert (catalogue.reviews, catalogue.having["lid"]) == (2, 1)
    assert (catalogue.nominal["lid"], catalogue.other["lid"]) == (3, 1)
    assert catalogue.noun("lid") == 3.5 / 5
    assert (catalogue.parts["lid"], catalogue.pointed["lid"]) == (2, 3)
    assert catalogue.part("lid") == 3 / 5
    assert catalogue.noun("mug") == catalogue.part("mug") == 0.5
    assert catalogue.rarity("lid") == np.log2(3 / 2)


def test_phrases_do_not_cross_punctuation_or_function_words():
    found = phrases_of(["The battery life, screen and page buttons of it"])
    assert set(found) == {
        ("batteri",),
        ("batteri", "life"),
        ("screen",),
        ("page",),
        ("page", "button"),
        ("button",),
    }
    assert found["page", "button"].spelled == {"page buttons": 1}
    assert (found["batteri", "life"].nominal, found["batteri",].nominal) == ({0}, set())
    assert phrases_of(["the page buttons of it"])["page", "button"].nominal == {0}


def aspects(texts, vectors=None, names=()):
    catalogue = Catalogue()
    for text in texts:
        catalogue.add(text)

    def embed(labels):
        return np.array([vectors.get(label, [0, 0, 0, 1]) for label in labels], np.float32)

    found = find_aspects(texts, catalogue, embed if vectors else None, 10, names)
    return {each.label: each.reviews for each in found}


def test_what_one_review_speaks_of_is_no_aspect():
    texts = ["The lid is loose.", "The LIDS are fine.", "The handle is hot.", "The lid broke."]
    assert aspects(texts) == {"lid": {0, 1, 3}}
    assert aspects(texts, names={"lid"}) == {}
    assert aspects([]) == {}


def test_what_reviews_call_the_item_is_no_aspect():
    """ "This" points at what is bought; a lid that is called so once is a lid."""
    texts = [
        "This jug is great.",
        "These jugs are bad.",
        "The jug is big.",
        "This lid.",
        "The lid.",
    ]
    assert aspects(texts) == {"lid": {3, 4}}
    assert [phrases_of(texts)[each,].is_item for each in ("jug", "lid")] == [True, False]
    often = [*texts, *["The jug is big."] * 11]
    assert (phrases_of(often)["jug",].this, phrases_of(often)["jug",].determined) == (2, 14)
    assert not phrases_of(often)["jug",].is_item


def test_names_are_no_aspects():
    texts = ["The Canon is good.", "My Canon broke.", "A Canon of mine.", "The canon.", "Canon."]
    catalogue = Catalogue()
    for text in texts:
        catalogue.add(text)
    assert (catalogue.titled["canon"], catalogue.plain["canon"]) == (3, 1)
    assert catalogue.is_name("canon")
    assert aspects(texts) == {}
    catalogue.add("The canon. The canon.")
    assert not catalogue.is_name("canon")


def test_a_part_of_a_longer_phrase_is_that_phrase():
    """Nobody speaks of another "life"; "battery" alone stands in two other reviews."""
    texts = [
        "The battery life is short.",
        "Its battery life is great.",
        "The battery broke.",
        "The battery is heavy.",
    ]
    assert aspects(texts) == {"battery life": {0, 1}, "battery": {0, 1, 2, 3}}


def test_a_longer_phrase_is_one_of_its_head():
    texts = [
        "The chest strap is short.",
        "The chest strap is long.",
        "The strap broke.",
        "Its strap is soft.",
    ]
    assert aspects(texts) == {"strap": {0, 1, 2, 3}}


def test_phrases_of_one_meaning_are_one_aspect():
    texts = ["The price is high.", "The price is fair.", "The cost is high.", "The cost is low."]
    apart = {"price": [1, 0, 0, 0], "cost": [0.6, 0.8, 0, 0]}
    assert aspects(texts, apart) == {"price": {0, 1}, "cost": {2, 3}}
    together = {"price": [1, 0, 0, 0], "cost": [0.8, 0.6, 0, 0]}
    [(label, reviews)] = aspects(texts, together).items()
    assert (label in ("price", "cost"), reviews) == (True, {0, 1, 2, 3})


def test_verbs_name_no_aspect():
    texts = ["I shave the beard.", "You shave me.", "They shave it.", "A shave of mine."]
    assert aspects(texts) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lid is tight but the handle gets hot.", ["The lid is tight", "the handle gets hot."]),
        ("Tight, but the lid leaks.", ["Tight, but the lid leaks."]),
        ("The lid is fine; the base is not. Ok.", ["The lid is fine", "the base is not.", "Ok."]),
        ("The lid, the base and the cord are fine.", ["The lid, the base and the cord are fine."]),
        ("", []),
    ],
)
def test_sentences_are_divided_where_they_turn(text, expected):
    assert [text[start:end] for start, end in clauses(text)] == expected


@given(TEXTS)
def test_clauses_lie_in_order_and_lose_no_word_that_names_an_aspect(text):
    found = clauses(text)
    flat = [place for span in found for place in span]
    assert flat == sorted(flat)
    named = [w.text for start, end in found for w in words(text[start:end]) if is_content(w)]
    assert named == [word.text for word in words(text) if is_content(word)]


@given(st.lists(st.one_of(st.text(max_size=60), TEXTS), max_size=6), st.randoms())
def test_any_reviews_in_any_order_have_the_same_aspects(texts, chance):
    found = aspects(texts)
    for reviews in found.values():
        assert len(reviews) >= 2
    documents = [Document(id=str(at), content=text) for at, text in enumerate(texts)]
    catalogue = Catalogue()
    for text in texts:
        catalogue.add(text)
    chosen = find_aspects(texts, catalogue, None, 10)
    for aspect, named in zip(chosen, clauses_naming(chosen, documents), strict=True):
        # Each review that counts has a clause that is shown for it.
        assert {mention.document for mention in named} == aspect.reviews
        for mention in named:
            assert texts[mention.document][mention.start : mention.end] == mention.text
    order = list(range(len(texts)))
    chance.shuffle(order)
    again = aspects([texts[at] for at in order])
    assert {label: {order[at] for at in reviews} for label, reviews in again.items()} == found


def test_clauses_that_name_an_aspect():
    texts = ["The lid is tight but it leaks. A lid! Fine.", "Fine.", "Both lids are bad."]
    documents = [Document(id=f"r{at}", content=text) for at, text in enumerate(texts)]
    catalogue = Catalogue()
    for text in texts:
        catalogue.add(text)
    found = find_aspects(texts, catalogue, None, 10)
    [named] = clauses_naming(found, documents)
    assert [(each.review_id, each.text) for each in named] == [
        ("r0", "The lid is tight but it leaks."),
        ("r0", "A lid!"),
        ("r2", "Both lids are bad."),
    ]


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_when_a_digest_is_stale(known, now, changed):
    digest = Digest("bag", len(known), None, (), {str(each): "v1" for each in known})
    versions = {str(each): "v2" if each in changed else "v1" for each in now}
    kept = len(known & now - changed)
    grown, shrunk = len(now) - kept, len(known) - kept
    expected = (grown and 5 * grown >= len(known)) or (shrunk and 20 * shrunk >= len(known))
    assert is_stale(digest, versions) == bool(expected)
