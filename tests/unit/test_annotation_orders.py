"""In which order tasks are annotated: k-center against an oracle, and the real encoder."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.annotation.orders import embed_tasks, farthest_first, ordered, uncertain_first
from qa_system.annotation.tasks import Task
from qa_system.config import EncoderSettings


def oracle(vectors: np.ndarray, weights: np.ndarray) -> list[int]:
    """Every distance anew for every choice."""
    chosen = [int(np.argmax(weights))]
    while len(chosen) < len(vectors):
        gains = {
            place: weights[place] * min(1 - vectors[place] @ vectors[one] for one in chosen)
            for place in range(len(vectors))
            if place not in chosen
        }
        best = max(gains.values())
        # Equal in the last digits is equal; the first of them is chosen.
        chosen.append(next(place for place, gain in gains.items() if gain >= best))
    return chosen


@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 999))
def test_each_choice_is_the_farthest_from_those_before(
    places: int, dimensions: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(places, dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = generator.uniform(0.1, 1, places)
    found = farthest_first(vectors, weights, places)
    assert found == oracle(vectors, weights)
    assert farthest_first(vectors, weights, 3) == found[:3]


SCORED = [Task("Loud?", "fan", f"r{n}", f"text {n}", score=n / 10) for n in range(10)]


def embedded(tasks: list[Task]) -> np.ndarray:
    """Scores 0 to 0.4 point one way, 0.5 to 0.9 nearly another."""
    turned = [(task.score >= 0.5) * 1.5 + task.score / 10 for task in tasks]
    return np.array([[np.cos(angle), np.sin(angle)] for angle in turned])


def test_the_orders() -> None:
    def scores(order) -> list[float]:
        found = ordered(SCORED[::-1], order, embedded)
        assert sorted(found, key=lambda task: task.score) == SCORED
        assert ordered(SCORED, order, embedded) == found
        return [task.score for task in found]

    assert scores("uncertain") == [n / 10 for n in range(10)]
    # 0 is the closest decision; 0.9 is the farthest from it, and of the rest 0.4 is the farthest
    # from both ends of the two groups.
    assert scores("diverse")[:3] == [0.0, 0.9, 0.4]
    # 0.5 is nearly as far as 0.9, and the reader is less sure of it.
    assert scores("mixed")[:2] == [0.0, 0.5]
    drawn = scores("random")
    assert drawn not in (sorted(drawn), sorted(drawn, reverse=True))
    assert ordered(SCORED, "random", embedded, seed=14) != ordered(SCORED, "random", embedded)
    assert ordered([], "diverse", embedded) == []


def test_tasks_are_embedded_by_question_and_review() -> None:
    pytest.importorskip("onnxruntime")
    from qa_system.retrievers.encoders import load_encoder

    encoder = load_encoder(EncoderSettings())
    battery, screen = "The battery lasts two days.", "The screen is far too dark."
    tasks = [
        Task("How long does the battery last?", "phone", "a", battery),
        Task("How long does the battery last?", "phone", "b", battery),
        Task("How long does the battery last?", "phone", "c", screen),
        Task("Is the screen bright?", "phone", "d", screen),
    ]
    vectors = embed_tasks(tasks, encoder)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    asked = encoder.encode_questions([task.question for task in tasks]).astype(np.float64)
    read = encoder.encode_passages([task.text for task in tasks]).astype(np.float64)
    cosines = [
        each @ each.T / np.outer(*[np.linalg.norm(each, axis=1)] * 2) for each in (asked, read)
    ]
    assert vectors @ vectors.T == pytest.approx(sum(cosines) / 2, abs=1e-3)
    assert [tasks.index(task) for task in ordered(tasks, "diverse", lambda _: vectors)][:2] == [
        0,
        3,
    ]
    assert uncertain_first(tasks) == tasks
