"""RAG's p(y|x), a sum over documents, in log space; pure functions.

Retrieval-augmented generation (Lewis et al. 2020, arXiv 2005.11401) treats the
document z that an answer y to a question x came from as unknown, and sums over those retrieved:

- RAG-Token: p(y|x) = prod_t sum_z p(z|x) p(y_t|x,z,y_<t): each token may come from another one.
- RAG-Sequence: p(y|x) = sum_z p(z|x) prod_t p(y_t|x,z,y_<t): the whole answer comes from one.

All functions are differentiable. Padding, in the place of a document, has a log prior of minus
infinity, and its values change nothing.

Importing this module imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "document_log_prior",
    "sequence_marginal",
    "sequence_posterior",
    "token_marginal",
    "token_posterior",
]


def document_log_prior(scores: Tensor, present: Tensor | None = None) -> Tensor:
    """Return log p(z|x): a softmax over the documents of each question.

    Args:
        scores: of each document, the larger the likelier, shape (..., documents).
        present: which of them are there, boolean, of the same shape; None: all.

    Returns:
        Shape (..., documents), minus infinity where there is no document, and everywhere if a
        question has none.

    >>> document_log_prior(torch.zeros(4)).exp().tolist()
    [0.25, 0.25, 0.25, 0.25]
    >>> document_log_prior(torch.zeros(3), torch.tensor([True, False, True])).exp().tolist()
    [0.5, 0.0, 0.5]
    """
    if present is None:
        return scores.log_softmax(-1)
    # A finite floor: a row of minus infinities would be NaN, forward and backward.
    floored = scores.masked_fill(~present, torch.finfo(scores.dtype).min)
    return floored.log_softmax(-1).masked_fill(~present, -torch.inf)


def token_marginal(log_prior: Tensor, log_probs: Tensor) -> Tensor:
    """Return log sum_z p(z|x) p(y_t|x,z,y_<t), the probability of tokens in RAG-Token.

    Args:
        log_prior: log p(z|x), shape (..., documents).
        log_probs: log p(y_t|x,z,y_<t), shape (..., documents, any...): of a vocabulary, of an
            answer's tokens, or of both.

    Returns:
        The shape of `log_probs` without documents. The sum over an answer's tokens is its
        log p(y|x).

    >>> prior, probs = torch.tensor([0.25, 0.75]), torch.tensor([[0.5, 0.5], [0.1, 0.9]])
    >>> [round(p, 4) for p in token_marginal(prior.log(), probs.log()).exp().tolist()]
    [0.2, 0.8]
    """
    return _joint(log_prior, log_probs).logsumexp(log_prior.dim() - 1)


def sequence_marginal(log_prior: Tensor, log_probs: Tensor) -> Tensor:
    """Return log sum_z p(z|x) p(y|x,z), the probability of whole answers in RAG-Sequence.

    Args:
        log_prior: log p(z|x), shape (..., documents).
        log_probs: log p(y|x,z), summed over an answer's tokens, of the same shape, or
            of one to which it can be broadcast.

    Returns:
        log p(y|x), shape (...,).

    >>> prior, probs = torch.tensor([0.5, 0.5]), torch.tensor([0.2, 0.4])
    >>> round(sequence_marginal(prior.log(), probs.log()).exp().item(), 4)
    0.3
    """
    return (log_prior + log_probs).logsumexp(-1)


def token_posterior(log_prior: Tensor, log_probs: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return each document's share in an answer of RAG-Token.

    The share is the mean over the answer's tokens of p(z|x,y_t,y_<t), the document's share in the
    token's probability.

    Args:
        log_prior: log p(z|x), shape (..., documents).
        log_probs: of the answer's tokens, shape (..., documents, length).
        counts: which of the tokens are there, boolean, shape (..., length); None: all. An answer
            without tokens has shares of 0.

    Returns:
        Shape (..., documents); the sum is 1.

    >>> prior, probs = torch.tensor([0.5, 0.5]), torch.tensor([[0.9, 0.2], [0.1, 0.2]])
    >>> [round(p, 4) for p in token_posterior(prior.log(), probs.log()).tolist()]
    [0.7, 0.3]
    """
    shares = _joint(log_prior, log_probs).softmax(log_prior.dim() - 1)
    if counts is None:
        return shares.mean(-1)
    counted = counts.unsqueeze(-2)
    return shares.where(counted, 0.0).sum(-1) / counted.sum(-1).clamp(min=1)


def sequence_posterior(log_prior: Tensor, log_probs: Tensor) -> Tensor:
    """Return p(z|x,y), each document's share in an answer of RAG-Sequence.

    Args:
        log_prior: log p(z|x), shape (..., documents).
        log_probs: log p(y|x,z), summed over the answer's tokens, as in `sequence_marginal`.

    Returns:
        Shape (..., documents); the sum is 1.

    >>> prior, probs = torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.3])
    >>> [round(p, 4) for p in sequence_posterior(prior.log(), probs.log()).tolist()]
    [0.25, 0.75]
    """
    return (log_prior + log_probs).softmax(-1)


def _joint(log_prior: Tensor, log_probs: Tensor) -> Tensor:
    trailing = log_probs.dim() - log_prior.dim()
    return log_prior.reshape(log_prior.shape + (1,) * trailing) + log_probs
