"""Orders of texts, measured by hand."""

import pytest

from qa_system.training.ranker.evaluate import rank_metrics
from qa_system.training.ranker.examples import Example


def test_metrics() -> None:
    examples = [
        Example("a", ("1", "2", "3"), (False, True, True)),
        Example("b", ("1", "2"), (True, False)),
        Example("c", ("1",), (False,)),
    ]
    # First relevant: second of three; a tie of two; none at all.
    found = rank_metrics(examples, [[3.0, 1.0, 2.0], [0.0, 0.0], [5.0]])
    assert found == {
        "mrr": pytest.approx((1 / 2 + 3 / 4 + 0) / 3),
        "recall@1": pytest.approx(1 / 6),
    }
