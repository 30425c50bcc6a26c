"""Beam search over a marginal: many questions, each with its documents, in one decoder.

The decoder's rows are questions x documents x beams. Scores are those of
transformers' beam search with `early_stopping=False`: the sum of the tokens' log-probabilities,
the end's among them, over length ** length_penalty. A question is finished when it has
`num_beams` answers, and its best open beam, taken at its present length, is no better than the
worst of them; it then leaves the batch.

Importing this module imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad as stretched

from qa_system.errors import ModelError
from qa_system.generators.attention import sharing_keys
from qa_system.generators.decoder import Decoder, encode
from qa_system.generators.marginal import (
    document_log_prior,
    sequence_marginal,
    sequence_posterior,
)
from qa_system.generators.seq2seq import Seq2Seq

__all__ = ["BeamSearch", "Hypothesis", "sequence_beams", "token_beams"]

LEAVE_AT = 0.25
"""Share of finished questions at which they are dropped from the batch. Dropping them copies the
keys and values of the rest; keeping them costs their share of each step."""

Sources = Sequence[Sequence[Sequence[int]]]
"""Token ids of each document of each question, the question in it."""


@dataclass(frozen=True, slots=True)
class BeamSearch:
    """How answers are searched for.

    Args:
        num_beams: open answers that are kept at each step; 1 is greedy search.
        max_length: tokens of an answer at most, its end and a forced first token included.
        length_penalty: a log-probability is divided by length ** length_penalty; 0 ranks by
            probability, larger values favour long answers.
    """

    num_beams: int = 5
    max_length: int = 32
    length_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An answer as token ids.

    Args:
        ids: without the decoder's prompt; the last one is the end, unless `max_length` was
            reached before.
        log_probability: log p(y|x), natural.
        score: `log_probability` over length ** length_penalty.
        posterior: p(z|x,y) of each document; the sum is 1.
    """

    ids: tuple[int, ...]
    log_probability: float
    score: float
    posterior: tuple[float, ...]


def token_beams(
    generator: Seq2Seq,
    sources: Sources,
    scores: Sequence[Sequence[float]],
    search: BeamSearch,
) -> list[list[Hypothesis]]:
    """Search by RAG-Token, where every step is marginalised over the question's documents.

    Args:
        generator: the model.
        sources: of each question, one document at least.
        scores: the documents' scores, scaled for the softmax.
        search: the search's settings.

    Returns:
        For each question `num_beams` answers at most, best first.

    Raises:
        ModelError: the model computes NaN or infinity.
    """
    most = max(map(len, sources))
    present = torch.tensor([[at < len(each) for at in range(most)] for each in sources])
    padded = torch.tensor([[*each, *[0.0] * (most - len(each))] for each in scores])
    # In the place of a missing document stands a source of one token; its prior is 0.
    rows = [row for each in sources for row in (*each, *[[generator.eos_id]] * (most - len(each)))]
    with torch.inference_mode(), sharing_keys(generator.model):
        decoder = Decoder(generator, *encode(generator, rows))
        log_prior = document_log_prior(padded, present).to(generator.device)
        found = _search(generator, decoder, log_prior, search)
    return [
        [
            Hypothesis(each.ids, each.log_probability, each.score, each.posterior[: len(own)])
            for each in hypotheses
        ]
        for own, hypotheses in zip(sources, found, strict=True)
    ]


def sequence_beams(
    generator: Seq2Seq,
    sources: Sources,
    scores: Sequence[Sequence[float]],
    search: BeamSearch,
    *,
    thorough: bool = True,
) -> list[list[Hypothesis]]:
    """Search by RAG-Sequence: for each document, then marginalise the answers over documents.

    Args:
        generator: the model.
        sources: of each question, one document at least.
        scores: the documents' scores, scaled for the softmax.
        search: the search's settings; `num_beams` is for each document.
        thorough: score each answer under each document. False counts an answer as impossible
            under documents whose beams did not find it; the paper calls this fast decoding.

    Returns:
        For each question all answers found, best first.

    Raises:
        ModelError: the model computes NaN or infinity.
    """
    rows = [row for each in sources for row in each]
    with torch.inference_mode(), sharing_keys(generator.model):
        decoder = Decoder(generator, *encode(generator, rows))
        alone = torch.zeros(len(rows), 1, device=generator.device)
        found = iter(_search(generator, decoder, alone, search))
        answers = []
        start = 0
        for own, own_scores in zip(sources, scores, strict=True):
            by_document = [next(found) for _ in own]
            candidates = list(
                dict.fromkeys(each.ids for hypotheses in by_document for each in hypotheses)
            )
            if thorough:
                documents = range(start, start + len(own))
                log_probs = decoder.log_probs(documents, candidates)
            else:
                log_probs = _where_found(by_document, candidates)
            start += len(own)
            log_prior = document_log_prior(torch.tensor(own_scores, dtype=torch.float32))
            answers.append(_ranked(candidates, log_prior, log_probs.cpu(), generator, search))
    return answers


def _where_found(
    by_document: Sequence[Sequence[Hypothesis]], candidates: Sequence[tuple[int, ...]]
) -> Tensor:
    known = [{each.ids: each.log_probability for each in found} for found in by_document]
    return torch.tensor([[found.get(ids, -torch.inf) for found in known] for ids in candidates])


def _ranked(
    candidates: Sequence[tuple[int, ...]],
    log_prior: Tensor,
    log_probs: Tensor,
    generator: Seq2Seq,
    search: BeamSearch,
) -> list[Hypothesis]:
    forced = len(generator.prompt_ids) - 1
    lengths = torch.tensor([forced + len(ids) for ids in candidates])
    marginal = sequence_marginal(log_prior, log_probs)
    ranked = marginal / lengths**search.length_penalty
    posterior = sequence_posterior(log_prior, log_probs)
    return [
        Hypothesis(
            candidates[at], float(marginal[at]), float(ranked[at]), tuple(posterior[at].tolist())
        )
        for at in ranked.argsort(descending=True, stable=True).tolist()
    ]


@dataclass(slots=True)
class _Open:
    """Open answers, best first.

    Args:
        scores: log p(y|x) so far, shape (questions, beams); minus infinity for a missing beam.
        ids: the tokens so far, shape (questions, beams, length).
        shares: each document's share in the tokens so far, summed, shape (questions, beams,
            documents).
    """

    scores: Tensor
    ids: Tensor
    shares: Tensor


@dataclass(slots=True)
class _Finished:
    """The best finished answers so far; a missing one has minus infinity in `scores`.

    Args:
        scores: with the length penalty, shape (questions, beams).
        log_probs: without it.
        ids: shape (questions, beams, max_length).
        lengths: tokens of each answer.
        shares: as in `_Open`.
    """

    scores: Tensor
    log_probs: Tensor
    ids: Tensor
    lengths: Tensor
    shares: Tensor


def _search(
    generator: Seq2Seq, decoder: Decoder, log_prior: Tensor, search: BeamSearch
) -> list[list[Hypothesis]]:
    """Search the marginal of each group of documents, log prior (groups, documents)."""
    device = log_prior.device
    groups, documents = log_prior.shape
    beams = search.num_beams
    prompt = torch.tensor(generator.prompt_ids, device=device)
    forced = len(prompt) - 1
    steps = search.max_length - forced
    active = torch.arange(groups, device=device)
    finished = _Finished(
        scores=log_prior.new_full((groups, beams), -torch.inf),
        log_probs=log_prior.new_full((groups, beams), -torch.inf),
        ids=torch.zeros(groups, beams, steps, dtype=torch.long, device=device),
        lengths=torch.zeros(groups, beams, dtype=torch.long, device=device),
        shares=log_prior.new_zeros(groups, beams, documents),
    )
    running = _Open(
        scores=log_prior.new_zeros(groups, 1),
        ids=torch.zeros(groups, 1, 0, dtype=torch.long, device=device),
        shares=log_prior.new_zeros(groups, 1, documents),
    )
    done = torch.zeros(groups, dtype=torch.bool, device=device)
    read = prompt.expand(groups * documents, -1)
    for step in range(1, steps + 1):
        logits = decoder.step(read)
        candidates, parents = _extended(logits, log_prior[active], running, 2 * beams)
        _refuse_nan(candidates.scores, generator)
        ends = candidates.ids[:, :, -1] == generator.eos_id
        length = float(forced + step) ** search.length_penalty
        # Only the first `beams` candidates may finish: the others replace those that do.
        ending = (ends | (step == steps)) & ~done[:, None]
        ending[:, beams:] = False
        _finish(finished, active, candidates, ending, step, length)
        if step == steps:
            break
        scores = candidates.scores.masked_fill(ends, -torch.inf)
        kept = scores.sort(dim=1, descending=True, stable=True).indices[:, :beams]
        running = _Open(
            scores.gather(1, kept),
            _at(candidates.ids, kept),
            _at(candidates.shares, kept),
        )
        parents = parents.gather(1, kept)
        done |= running.scores[:, 0] / length <= finished.scores[active].amin(1)
        if bool(done.all()):
            break
        stay = torch.arange(len(active), device=device)
        sources = None
        if float(done.float().mean()) >= LEAVE_AT:
            stay = stay[~done]
            sources = _rows(stay, documents)
            running = _Open(running.scores[stay], running.ids[stay], running.shares[stay])
            parents, active, done = parents[stay], active[stay], done[stay]
        width = logits.shape[0] // (len(candidates.ids) * documents)
        rows = _rows(stay, documents).view(-1, documents, 1) * width + parents[:, None, :]
        decoder.take(rows.reshape(-1), sources)
        read = running.ids[:, None, :, -1].expand(-1, documents, -1).reshape(-1, 1)
    return _hypotheses(finished)


def _refuse_nan(scores: Tensor, generator: Seq2Seq) -> None:
    if bool(scores.isnan().any()):  # an infinite logit makes NaN, too
        raise ModelError(
            "the generator computes NaN or infinity",
            where=generator.where,
            remedy="Check the generator's weights, or name another generator.",
        )


def _rows(groups: Tensor, documents: int) -> Tensor:
    own = torch.arange(documents, device=groups.device)
    return (groups[:, None] * documents + own).reshape(-1)


def _at(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[-1]))


def _extended(logits: Tensor, log_prior: Tensor, running: _Open, most: int) -> tuple[_Open, Tensor]:
    """Extend open answers by a token.

    Args:
        logits: shape (groups x documents x beams, vocabulary).
        log_prior: shape (groups, documents).
        running: the open answers.
        most: how many of the extended answers to return.

    Returns:
        The extended answers, best first, and the beam that each extends, shape (groups, most).
    """
    groups, documents = log_prior.shape
    beams = running.scores.shape[1]
    logits = logits.view(groups, documents, beams, -1)
    # One pass of exp serves the softmax and the sum over documents: its sums go into the weights.
    powers = (logits - logits.amax(-1, keepdim=True)).exp_()
    weights = log_prior.exp()[:, :, None] / powers.sum(-1)
    marginal = powers[:, 0] * weights[:, 0, :, None]
    for document in range(1, documents):
        marginal.addcmul_(powers[:, document], weights[:, document, :, None])
    fewer = min(most, marginal.shape[-1])
    probabilities, tokens = marginal.topk(fewer, dim=-1)
    scores = (running.scores[:, :, None] + probabilities.log()).view(groups, -1)
    chosen = scores.sort(dim=1, descending=True, stable=True).indices[:, :most]
    scores, parents = scores.gather(1, chosen), chosen // fewer
    tokens = tokens.view(groups, -1).gather(1, chosen)
    group = torch.arange(groups, device=logits.device)[:, None]
    joint = powers[group, :, parents, tokens] * weights[group, :, parents]
    shares = joint / joint.sum(-1, keepdim=True).clamp(min=torch.finfo(joint.dtype).tiny)
    extended = _Open(
        scores=scores,
        ids=torch.cat((_at(running.ids, parents), tokens[:, :, None]), dim=-1),
        shares=_at(running.shares, parents) + shares,
    )
    missing = most - scores.shape[1]
    if missing > 0:
        return _filled(extended, missing), stretched(parents, (0, missing))
    return extended, parents


def _filled(few: _Open, missing: int) -> _Open:
    """Fill up with missing beams, where the vocabulary is smaller than the beams."""
    return _Open(
        scores=stretched(few.scores, (0, missing), value=-torch.inf),
        ids=stretched(few.ids, (0, 0, 0, missing)),
        shares=stretched(few.shares, (0, 0, 0, missing)),
    )


def _finish(
    finished: _Finished,
    active: Tensor,
    candidates: _Open,
    ending: Tensor,
    step: int,
    length: float,
) -> None:
    """Replace the worst finished answers with those candidates that end and are better."""
    ranked = (candidates.scores / length).masked_fill(~ending, -torch.inf)
    both = torch.cat((finished.scores[active], ranked), dim=1)
    beams = finished.scores.shape[1]
    best = both.sort(dim=1, descending=True, stable=True).indices[:, :beams]
    room = finished.ids.shape[-1] - step
    finished.scores[active] = both.gather(1, best)
    for name, new in (("log_probs", candidates.scores), ("lengths", None)):
        old: Tensor = getattr(finished, name)
        added = old.new_full(ranked.shape, step) if new is None else new
        old[active] = torch.cat((old[active], added), dim=1).gather(1, best)
    padded = stretched(candidates.ids, (0, room))
    finished.ids[active] = _at(torch.cat((finished.ids[active], padded), dim=1), best)
    finished.shares[active] = _at(
        torch.cat((finished.shares[active], candidates.shares), dim=1), best
    )


def _hypotheses(finished: _Finished) -> list[list[Hypothesis]]:
    posterior = finished.shares / finished.lengths[:, :, None].clamp(min=1)
    columns = (
        finished.scores.tolist(),
        finished.log_probs.tolist(),
        finished.lengths.tolist(),
        finished.ids.tolist(),
        posterior.tolist(),
    )
    return [
        [
            Hypothesis(tuple(ids[:length]), log_probability, score, tuple(shares))
            for score, log_probability, length, ids, shares in zip(*group, strict=True)
            if score > -torch.inf
        ]
        for group in zip(*columns, strict=True)
    ]
