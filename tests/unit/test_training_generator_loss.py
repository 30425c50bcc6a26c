"""The loss of RAG, against sums that are written out; gradients, and what padding must not do."""

from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch

from qa_system.training.generator.loss import GoldLogProbs, collate, gold_log_probs, rag_loss
from qa_system.training.generator.tokens import Tokens
from tiny_models import EOS, PAD, VOCABULARY, tiny_bart, tiny_t5

MODELS = {"bart": tiny_bart, "t5": tiny_t5}


def ids(draw: np.random.Generator, length: int) -> np.ndarray:
    return np.append(draw.integers(6, VOCABULARY, length - 1), EOS)


def examples_of(seed: int, shapes: list[tuple[list[int], list[int]]]) -> list[Tokens]:
    """Examples by the lengths of their sources and answers."""
    draw = np.random.default_rng(seed)
    return [
        Tokens(
            tuple(ids(draw, length) for length in sources),
            tuple(ids(draw, length) for length in answers),
            tuple(draw.dirichlet([1.0] * len(answers))),
            draw.normal(size=len(sources)).astype(np.float32),
        )
        for sources, answers in shapes
    ]


def collated(examples: list[Tokens], model: Any) -> dict[str, torch.Tensor]:
    prompt = [model.config.decoder_start_token_id]
    return collate(examples, pad_id=PAD, prompt_ids=prompt)


def loss_of(model: Any, examples: list[Tokens], mode: Any, **options: Any) -> torch.Tensor:
    batch = collated(examples, model)
    return rag_loss(gold_log_probs(model, batch), batch["scores"], batch, mode, **options)


def written_out(model: Any, examples: list[Tokens], mode: str, smoothing: float = 0.0) -> float:
    """The same by plain loops: a forward pass of transformers for each document and answer."""
    total, tokens = 0.0, 0.0
    for example in examples:
        weights = [exp(score) for score in example.scores]
        prior = [weight / sum(weights) for weight in weights]
        for answer, share in zip(example.answers, example.shares, strict=True):
            per_document = []
            for source in example.sources:
                with torch.no_grad():
                    logits = model(
                        input_ids=torch.from_numpy(source)[None],
                        decoder_input_ids=torch.tensor(
                            [[model.config.decoder_start_token_id, *answer[:-1]]]
                        ),
                    ).logits[0]
                per_document.append(logits.double().log_softmax(-1))
            gold = [
                [float(logs[t, token].exp()) for t, token in enumerate(answer)]
                for logs in per_document
            ]
            if mode == "token":
                log_prob = sum(
                    log(sum(p * g[t] for p, g in zip(prior, gold, strict=True)))
                    for t in range(len(answer))
                )
            else:
                log_prob = log(sum(p * float(np.prod(g)) for p, g in zip(prior, gold, strict=True)))
            spread = sum(
                p * float(logs.mean(-1).sum()) for p, logs in zip(prior, per_document, strict=True)
            )
            total -= share * ((1 - smoothing) * log_prob + smoothing * spread)
            tokens += share * len(answer)
    return total / tokens


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", ["token", "sequence"])
@pytest.mark.parametrize(
    "shapes",
    [
        [([7], [3])],
        [([7, 3, 12], [2, 5])],
        # More sources than go through the encoder at once, and as many as examples have.
        [([9, 4, 6, 11, 5], [3]), ([8], [1, 2, 6]), ([5, 13], [4]), ([3, 3, 7], [2])],
    ],
)
def test_the_loss_is_the_sum_over_documents(kind: str, mode: Any, shapes: Any) -> None:
    model = MODELS[kind](seed=3)
    examples = examples_of(5, shapes)
    assert loss_of(model, examples, mode).item() == pytest.approx(
        written_out(model, examples, mode), rel=1e-5
    )
    smoothed = loss_of(model, examples, mode, label_smoothing=0.1)
    assert smoothed.item() == pytest.approx(written_out(model, examples, mode, 0.1), rel=1e-5)


def test_with_one_document_it_is_cross_entropy() -> None:
    model = tiny_bart(seed=1)
    [example] = examples_of(2, [([9], [4])])
    expected = model(
        input_ids=torch.from_numpy(example.sources[0])[None],
        labels=torch.from_numpy(example.answers[0])[None],
    ).loss
    for mode in ("token", "sequence"):
        torch.testing.assert_close(loss_of(model, [example], mode), expected)


def test_a_document_that_is_no_good_is_pushed_away() -> None:
    scores = torch.zeros(1, 2, requires_grad=True)
    batch = {
        "present": torch.tensor([[True, True]]),
        "example_of": torch.tensor([0]),
        "labels": torch.tensor([[7, EOS]]),
        "shares": torch.tensor([1.0]),
    }
    gold = GoldLogProbs(torch.tensor([[[-0.1, -0.1], [-5.0, -5.0]]]), torch.zeros(1, 2, 2))
    for mode in ("token", "sequence"):
        scores.grad = None
        rag_loss(gold, scores, batch, mode).backward()
        assert scores.grad is not None
        good, bad = scores.grad[0]
        assert good < 0 < bad


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_padding_changes_neither_loss_nor_gradient(mode: Any) -> None:
    model = tiny_bart(seed=4)
    short, long = examples_of(7, [([5, 6], [2]), ([14, 3, 9], [6, 4])])
    alone = loss_of(model, [short], mode)
    alone.backward()
    expected = model.model.shared.weight.grad.clone()
    model.zero_grad()
    # A share of 0 leaves the other example in the batch, and out of the loss.
    unshared = replace(long, shares=(0.0, 0.0))
    beside = loss_of(model, [short, unshared], mode)
    beside.backward()
    torch.testing.assert_close(beside, alone)
    torch.testing.assert_close(model.model.shared.weight.grad, expected)
