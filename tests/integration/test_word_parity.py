"""Odd words: both stores find the same documents by them, with the same scores."""

import pytest
from haystack.dataclasses import Document
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qa_system.stores.faiss import FAISSDocumentStore

WORDS = [
    *(
        "5.5",
        "3,000",
        "1.2.3",
        "10:30",
        "USB3.0",
        "802.11ac",
        "$19.99",
        "50%",
        "-20",
        "1/2",
        "5",
        "3",
    ),
    *("foo_bar", "__init__", "x-large", "and/or", "C++", "C#", "AT&T", "R&D", "a.b.c", "3x3"),
    *("U.S.A.", "e.g.", "O'Neil", "o’neil", "neil", "isn't", "it's", "rock'n'roll", "'n'", "dogs'"),
    *("me@example.org", "www.example.org/a?b=c", "#1", "@home", "v2.0-beta", "mm²", "½", "№5", "①"),
    *("naïve", "nai\u0308ve", "NAÏVE", "nai", "cafe\u0301", "café", "cafe", "re\u0301sume\u0301"),
    *(
        "soft\u00adhyphen",
        "soft",
        "softhyphen",
        "zero\u200bwidth",
        "zerowidth",
        "a\u00a0b",
        "a\u2028b",
    ),
    *(
        "İstanbul",
        "istanbul",
        "ISTANBUL",
        "ıstanbul",
        "straße",
        "STRASSE",
        "ﬁne",
        "fine",
        "ΣΑΣ",
        "σας",
    ),
    *(
        "電池",
        "電",
        "電池は良い",
        "カメラ",
        "हिन्दी",
        "שָׁלוֹם",
        "สวัสดี",
        "العربية",
        "١٢",
        "👍",
        "ok👍",
        "𝔸b",
    ),
    *("a\u0345b", "batteries", "battery", "Batteries'", "generously", "skies", "dying", "news"),
    *("others", "other", "willing", "the", "not", "t", "having", "doing", "s", "U", "A"),
    *("x" * 254, "x" * 255, "é" * 127, "é" * 128, "電" * 84, "電" * 85, "İ" * 127, "x" * 40_000),
]
QUESTIONS = [
    *WORDS,
    *(f"Is it the {word}, or not?" for word in WORDS),
    *("5.5 5.5 USB3.0 (foo_bar)", "?!", "...", "the the not", "_", "\u0301", "\u00ad", "' '"),
]


@pytest.fixture(scope="module", params=[1, 3])
def stores(request, lasting_elastic_store, tmp_path_factory):
    documents = [
        Document(id=f"w{n}-{length}", content=f"{word} model {'is here ' * length}.")
        for n, word in enumerate(WORDS)
        for length in range(3)
    ]
    with FAISSDocumentStore(tmp_path_factory.mktemp("words") / "store") as ours:
        theirs = lasting_elastic_store(f"words{request.param}", shards=request.param)
        for store in (ours, theirs):
            store.write_documents(documents)
        yield ours, theirs


@pytest.fixture(scope="module")
def random_stores(lasting_elastic_store, tmp_path_factory):
    return tmp_path_factory.mktemp("random"), lasting_elastic_store


def check_alike(stores, question):
    """Compare what a question finds, and return how much that is."""
    expected, found = (store.search_bm25(question, 1_000) for store in stores)
    scores = {document.id: document.score for document in expected}
    assert {document.id for document in found} == scores.keys(), question
    for document in found:
        assert document.score == pytest.approx(scores[document.id], abs=1e-4), question
    return len(found)


def test_odd_words_are_found_alike(stores):
    found = {question: check_alike(stores, question) for question in QUESTIONS}
    assert {found[word] for word in ("5.5", "foo_bar", "O'Neil", "USB3.0")} & {0} == set()
    assert found["neil"] == 9
    assert found["x" * 254] == 3
    assert {found[word] for word in ("?!", "...", "_", "\u0301", "x" * 255, "電" * 85, "👍")} == {0}


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("Is it 5.5 inches?", "5.5"),
        ("with 3,000 pages", "3,000"),
        ("version 1.2.3?", "1.2.3"),
        ("Does it have USB3.0?", "USB3.0"),
        ("Made in U.S.A.?", "U.S.A."),
        ("what's foo_bar", "foo_bar"),
        ("by O'Neil?", "O'Neil"),
    ],
)
def test_a_word_with_punctuation_inside_is_found(stores, question, word):
    for store in stores:
        found = [each.content for each in store.search_bm25(question, 5)]
        assert any(content.startswith(f"{word} ") for content in found)


def test_an_accent_of_its_own_and_a_soft_hyphen_end_a_word(stores):
    for store in stores:
        for asked, word in (("nai", "nai\u0308ve"), ("hyphen", "soft\u00adhyphen")):
            found = [each.content for each in store.search_bm25(asked, 10)]
            assert any(content.startswith(f"{word} ") for content in found)


characters = st.sampled_from("aabenst5503xéİßσ電ी².,:;'’_-/&@#%()!?  \n\u0301\u00ad\u200b👍")
texts = st.lists(
    st.one_of(
        st.text(characters, min_size=1, max_size=8),
        st.sampled_from(["5.5", "O'Neil", "the", "isn't", "batteries", "battery", "is", "U.S.A."]),
    ),
    min_size=1,
    max_size=8,
).map(" ".join)


@settings(max_examples=25)
@given(st.lists(texts, min_size=1, max_size=8), st.lists(texts, min_size=1, max_size=10))
@example(["It is 5.5 inches", "foo_bar 3,000"], ["5.5", "5", "bar", "3,000 foo", "O'Neil's 3"])
def test_random_texts_are_found_alike(random_stores, contents, questions):
    folder, elastic_store = random_stores
    # Lucene does not count a text without words, tantivy does: each has one.
    documents = [Document(id=f"d{n}", content=f"x {text}") for n, text in enumerate(contents)]
    # Of new stores, for what was deleted counts in scores until the server has merged it away.
    number = len(list(folder.iterdir()))
    with FAISSDocumentStore(folder / str(number)) as ours:
        stores = (ours, elastic_store(f"random{number}"))
        for store in stores:
            store.write_documents(documents)
        for question in [*questions, *contents]:
            check_alike(stores, question)
