"""How well a sentence fits a question: by hand, and wherever it stands."""

import math

import numpy as np
import pytest

from qa_system.stores.sentences import (
    SentenceColumns,
    SentenceQuery,
    columns_of,
    rank,
    score,
    unembedded_columns,
)
from qa_system.stores.sentences.columns import joined
from qa_system.stores.sentences.scoring import cosines_of_reviews

TEXTS = ("Loud bass. Red.", "Loud strap.", "It is a bass that is so loud.")


def embedded(number: int, text: str, vectors: np.ndarray) -> SentenceColumns:
    return columns_of(number, text, [(0, len(text))] * len(vectors), vectors)


def test_words_by_hand() -> None:
    columns = unembedded_columns(enumerate(TEXTS))
    found = score(columns, SentenceQuery.of("How loud is the bass on the bus?", None, 0.5))
    # Four sentences: three have "loud", two "bass", none "bus", which weighs as much as "bass".
    loud, bass = math.log1p(4 / 3), math.log1p(4 / 2)
    whole = loud + bass + bass
    expected = [(loud + bass) / whole, 0, loud / whole, (loud + bass) / whole]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_sum_by_hand() -> None:
    vectors = np.array([[3.0, 4.0], [-1.0, 0.0], [0.0, 0.0]], np.float32)
    columns = joined([embedded(n, "Bass.", vectors[n : n + 1]) for n in range(3)])
    query = SentenceQuery.of("bass?", np.array([2.0, 0.0], np.float32), 0.25)
    # The third has no embedding: its words alone count, unless its review has one.
    expected = [0.25 + 0.75 * 0.6, 0.25 - 0.75, 1.0]
    assert score(columns, query).tolist() == pytest.approx(expected, abs=0.004)
    of_review = np.array([0.9, 0.9, 0.8], np.float32)
    assert score(columns, query, of_review)[2] == pytest.approx(0.25 + 0.75 * 0.8)


@pytest.mark.parametrize("dimension", [3, 16, 64, 384, 768])
def test_equal_sentences_are_a_tie_wherever_they_stand(dimension: int) -> None:
    drawn = np.random.default_rng(7)
    vector, other = drawn.normal(size=(2, 1, dimension)).astype(np.float32)
    question = SentenceQuery.of("What bass?", drawn.normal(size=dimension).astype(np.float32), 0.5)
    one, another = embedded(0, "Bass.", vector), embedded(1, "Strap.", other)
    for count in (1, 2, 5, 8, 511, 515, 1_030):
        scores = score(joined([another, *[one] * count, another]), question)
        assert len(set(scores[1:-1].tolist())) == 1
        assert scores[0] == scores[-1]
        assert question.vector is not None
        cosines = cosines_of_reviews(np.repeat(vector, count, axis=0), question.vector)
        assert len(set(cosines.tolist())) == 1


def test_equal_scores_are_in_the_order_of_the_ids() -> None:
    columns = unembedded_columns((number, "Loud.") for number in range(5))
    names = {number: f"r{number}" for number in range(5)}
    found = rank(columns, np.ones(5, np.float32), 2, 0.5, lambda _: names)
    backwards = {number: f"r{4 - number}" for number in range(5)}
    again = rank(columns, np.ones(5, np.float32), 2, 0.5, lambda _: backwards)
    assert [names[n] for n in found.by_review] == [backwards[n] for n in again.by_review]
    assert found.considered == 5
