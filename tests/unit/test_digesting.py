"""Digests of items by the bundled judge; what it says of a clause is not what is tested."""

import random
from dataclasses import replace

import pytest
from haystack import Document

from qa_system.aspects.digesting import Digester
from qa_system.aspects.phrases import Catalogue
from qa_system.digests.encoding import decode_digest, encode_digest
from qa_system.judging import Judge

SAID = {
    "lid": ["The lid is tight.", "I love the lid.", "The lid leaks.", "Its lid is great."],
    "handle": ["The handle gets hot!", "The handle broke off.", "A sturdy handle."],
}
NOT_SHARED = ["Arrived on Monday.", "Fast delivery by the courier, who was friendly and polite."]


def reviews(texts):
    meta = {"item_id": "kettle", "product": "Brimwell 1.7 L Kettle", "stars": 4}
    return [
        Document(id=f"d{at}", content=text, meta={**meta, "review_id": f"r{at}"})
        for at, text in enumerate(texts)
    ]


TEXTS = [*SAID["lid"], *SAID["handle"], *NOT_SHARED]


@pytest.fixture(scope="module")
def digest():
    judge = Judge(threads=1)

    def make(documents, **options):
        catalogue = Catalogue()
        for document in documents:
            catalogue.add(document.content)
        return Digester(judge, None, catalogue, **options).digest("kettle", documents, 7)

    return make


def test_each_review_that_names_an_aspect_counts_once(digest):
    found = digest(reviews(TEXTS))
    assert (found.item_id, found.reviews, found.generation) == ("kettle", 9, 7)
    assert {each.label: each.support for each in found.aspects} == {"lid": 4, "handle": 3}
    for aspect in found.aspects:
        assert aspect.share == aspect.support / 9
        assert aspect.for_ + aspect.against <= aspect.support
        assert {quote.text for quote in aspect.quotes} == set(SAID[aspect.label])
        for quote in aspect.quotes:
            assert TEXTS[int(quote.review_id[1:])][quote.start : quote.end] == quote.text
            assert quote.meta == {"product": "Brimwell 1.7 L Kettle", "stars": 4}


def test_the_item_s_own_name_is_no_aspect(digest):
    texts = [f"The kettle is {each}." for each in ("great", "bad", "loud")]
    assert [each.label for each in digest(reviews([*TEXTS, *texts])).aspects] == ["lid", "handle"]


def test_the_order_of_reviews_changes_nothing(digest):
    documents = reviews([*TEXTS, "The lid is fine but the handle is far too hot."])
    expected = digest(documents)
    for seed in range(3):
        shuffled = list(documents)
        random.Random(seed).shuffle(shuffled)
        assert digest(shuffled) == expected


def test_a_review_that_was_posted_ten_times_counts_once(digest):
    copied = "The lid is tight, and it has stayed so for two years of daily use in our kitchen."
    once, often = digest(reviews([*TEXTS, copied])), digest(reviews([*TEXTS, *[copied] * 10]))
    assert (once.reviews, often.reviews) == (10, 19)
    assert (once.copies, often.copies) == (0, 9)
    assert decode_digest(encode_digest(often)) == often
    for aspect in often.aspects:
        assert aspect.share == aspect.support / (often.reviews - often.copies)
    for one, other in zip(once.aspects, often.aspects, strict=True):
        assert (one.label, one.support, one.share, one.for_, one.against) == (
            other.label,
            other.support,
            other.share,
            other.for_,
            other.against,
        )


def test_too_few_reviews_have_a_digest_without_aspects(digest):
    few = reviews(SAID["lid"][:2])
    assert digest(few).aspects == ()
    assert (digest(few).reviews, set(digest(few).versions)) == (2, {"r0", "r1"})
    assert [each.label for each in digest(few, min_reviews=2).aspects] == ["lid"]
    # Three of which two are one.
    copied = "The lid is tight, and it has stayed so for two years of daily use in our kitchen."
    assert digest(reviews([copied, copied, "The lid leaks."])).aspects == ()
    assert digest([]).reviews == 0


def test_a_title_is_told_from_the_text(digest):
    documents = reviews(TEXTS)
    titled = [
        replace(
            each,
            content=f"{each.content}\nBought in May.",
            meta={**each.meta, "title": each.content},
        )
        for each in documents[:4]
    ]
    [lid] = [each for each in digest([*titled, *documents[4:]]).aspects if each.label == "lid"]
    assert {quote.field for quote in lid.quotes} == {"title"}


def test_documents_without_text_or_review_id(digest):
    documents = [*reviews(TEXTS), Document(id="bare", content="The lid is dirty.")]
    found = digest([*documents, Document(id="empty", content="")])
    assert {"bare", "empty"} < set(found.versions)
    assert found.reviews == 11
    [lid] = [each for each in found.aspects if each.label == "lid"]
    assert "bare" in {quote.review_id for quote in lid.quotes}
