"""The sums over documents, against sums written out."""

import math

import pytest
import torch

from qa_system.generators.marginal import (
    document_log_prior,
    sequence_marginal,
    sequence_posterior,
    token_marginal,
    token_posterior,
)

SHAPES = [(1, 1, 1), (1, 5, 2), (3, 2, 4), (4, 7, 3)]


def drawn(questions: int, documents: int, length: int, vocabulary: int = 6) -> tuple:
    generator = torch.Generator().manual_seed(questions * 100 + documents)
    scores = 3 * torch.randn(questions, documents, generator=generator)
    logits = 3 * torch.randn(questions, documents, length, vocabulary, generator=generator)
    return scores, logits.log_softmax(-1)


@pytest.mark.parametrize(("questions", "documents", "length"), SHAPES)
def test_marginals_are_the_sums_written_out(questions, documents, length):
    scores, log_probs = drawn(questions, documents, length)
    log_prior = document_log_prior(scores)
    by_token = token_marginal(log_prior, log_probs)
    whole = log_probs[..., 0].sum(-1)
    by_sequence = sequence_marginal(log_prior, whole)
    for question in range(questions):
        total = sum(math.exp(score) for score in scores[question].tolist())
        prior = [math.exp(score) / total for score in scores[question].tolist()]
        for step in range(length):
            for token in range(6):
                expected = sum(
                    p * math.exp(log_probs[question, z, step, token]) for z, p in enumerate(prior)
                )
                assert by_token[question, step, token].exp().item() == pytest.approx(
                    expected, abs=1e-6
                )
        expected = sum(p * math.exp(whole[question, z]) for z, p in enumerate(prior))
        assert by_sequence[question].exp().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("questions", "documents", "length"), SHAPES)
def test_posteriors_are_bayes_rule(questions, documents, length):
    scores, log_probs = drawn(questions, documents, length)
    log_prior = document_log_prior(scores)
    gold = log_probs[..., 0]
    by_token = token_posterior(log_prior, gold)
    by_sequence = sequence_posterior(log_prior, gold.sum(-1))
    for question in range(questions):
        joint = (log_prior[question, :, None] + gold[question]).exp()
        expected = (joint / joint.sum(0)).mean(-1)
        assert torch.allclose(by_token[question], expected, atol=1e-6)
        whole = (log_prior[question] + gold[question].sum(-1)).exp()
        assert torch.allclose(by_sequence[question], whole / whole.sum(), atol=1e-5)
    assert torch.allclose(by_token.sum(-1), torch.ones(questions), atol=1e-6)


def test_a_marginal_over_a_vocabulary_is_a_distribution():
    scores, log_probs = drawn(3, 4, 5)
    total = token_marginal(document_log_prior(scores), log_probs).logsumexp(-1)
    assert torch.allclose(total, torch.zeros(3, 5), atol=1e-6)


def test_an_absent_document_changes_nothing_and_has_no_share():
    scores, log_probs = drawn(2, 3, 4)
    gold = log_probs[..., 0]
    present = torch.tensor([[True, True, True], [True, True, False]])
    log_prior = document_log_prior(scores, present)
    fewer = document_log_prior(scores[1, :2])
    assert torch.allclose(log_prior[1, :2], fewer)
    assert log_prior[1, 2] == -torch.inf
    assert torch.allclose(
        token_marginal(log_prior, gold)[1], token_marginal(fewer, gold[1, :2]), atol=1e-6
    )
    assert token_posterior(log_prior, gold)[1, 2] == 0
    assert sequence_posterior(log_prior, gold.sum(-1))[1, 2] == 0


def test_tokens_that_are_not_there_do_not_count():
    scores, log_probs = drawn(1, 2, 3)
    log_prior, gold = document_log_prior(scores), log_probs[..., 0]
    counts = torch.tensor([[True, True, False]])
    assert torch.allclose(
        token_posterior(log_prior, gold, counts), token_posterior(log_prior, gold[..., :2])
    )
    assert token_posterior(log_prior, gold, torch.zeros_like(counts)).tolist() == [[0.0, 0.0]]


def test_gradients_are_finite_with_absent_documents_and_agree_with_differences():
    scores = torch.tensor([[0.3, -0.2, 0.1], [0.5, 0.4, 0.0]], dtype=torch.float64)
    present = torch.tensor([[True, True, True], [True, False, False]])
    log_probs = torch.randn(2, 3, 4, dtype=torch.float64).log_softmax(-1)

    def loss(scores: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
        log_prior = document_log_prior(scores, present)
        both = token_marginal(log_prior, log_probs).sum(-1)
        return both + sequence_marginal(log_prior, log_probs.sum(-1))

    scores.requires_grad_()
    log_probs.requires_grad_()
    assert torch.autograd.gradcheck(loss, (scores, log_probs))
    nobody = document_log_prior(scores, torch.zeros_like(present))
    assert nobody.eq(-torch.inf).all()
    nobody.masked_fill(~present, 0.0).exp().sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_small_probabilities_do_not_vanish():
    log_probs = torch.tensor([[-900.0, -1000.0]])
    log_prior = document_log_prior(torch.zeros(1, 2))
    assert sequence_marginal(log_prior, log_probs).item() == pytest.approx(-900 - math.log(2))
