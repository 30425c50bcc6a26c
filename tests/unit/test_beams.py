"""Beam search over documents: against brute force, and against transformers' own RAG."""

import itertools

import pytest
import torch

import tiny_models as tiny
from qa_system.errors import ModelError
from qa_system.generators.attention import share_keys, sharing_keys
from qa_system.generators.beams import (
    BeamSearch,
    sequence_beams,
    token_beams,
)
from qa_system.generators.decoder import answer_log_probs
from qa_system.generators.layout import SourceLayout
from qa_system.generators.seq2seq import Seq2Seq

SHAPES = [(1, 1, 1), (1, 5, 5), (3, 2, 4), (4, 5, 1), (2, 3, 8)]
"""Questions, documents, beams."""

SMALL = 7
"""A vocabulary whose answers of four tokens can be written out; its last three are words."""


def made(kind: str, seed: int = 0, vocabulary: int = tiny.VOCABULARY, ending: float = 4.0):
    """A model in which answers end now and then."""
    model = getattr(tiny, f"tiny_{kind}")(seed=seed, vocabulary=vocabulary)
    if kind == "bart":
        model.final_logits_bias[0, tiny.EOS] = ending
    return model


def generator_of(model) -> Seq2Seq:
    tokenizer = tiny.tiny_tokenizer()
    return Seq2Seq(
        model=model,
        tokenizer=tokenizer,
        layout=SourceLayout(tokenizer, "{question} [SEP] {text}", 64),
        score_scale=1.0,
        start_id=model.config.decoder_start_token_id,
        eos_id=tiny.EOS,
        pad_id=tiny.PAD,
    )


def drawn(questions: int, documents: int, seed: int = 0, vocabulary: int = tiny.VOCABULARY):
    generator = torch.Generator().manual_seed(seed)
    low = 3 if vocabulary == SMALL else 6
    sources = [
        [
            torch.randint(
                low,
                vocabulary,
                (3 + int(torch.randint(17, (1,), generator=generator)),),
                generator=generator,
            ).tolist()
            for _ in range(documents)
        ]
        for _ in range(questions)
    ]
    scores = (2 * torch.randn(questions, documents, generator=generator)).tolist()
    return sources, scores


def padded(rows):
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[tiny.PAD] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def plain_log_probs(model, sources, answer):
    """log p(y_t|x,z,y_<t), (documents, length), by transformers' forward, a document a call."""
    start = model.config.decoder_start_token_id
    rows = []
    for source in sources:
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([source]),
                decoder_input_ids=torch.tensor([[start, *answer[:-1]]]),
            ).logits[0]
        rows.append(logits.log_softmax(-1)[torch.arange(len(answer)), list(answer)])
    return torch.stack(rows).double()


def brute_force(model, sources, scores, answer, mode):
    """log p(y|x) and p(z|x,y), summed over documents as the paper writes it."""
    prior = torch.tensor(scores, dtype=torch.float64).softmax(-1)
    probs = plain_log_probs(model, sources, answer).exp()
    if mode == "token":
        joint = prior[:, None] * probs
        return joint.sum(0).log().sum().item(), (joint / joint.sum(0)).mean(1).tolist()
    joint = prior * probs.prod(1)
    return joint.sum().log().item(), (joint / joint.sum()).tolist()


@pytest.mark.parametrize("kind", ["bart", "t5"])
@pytest.mark.parametrize("mode", ["token", "sequence"])
@pytest.mark.parametrize(("questions", "documents", "beams"), SHAPES)
def test_log_probabilities_and_posteriors_are_a_sum_over_documents(
    kind, mode, questions, documents, beams
):
    # In float64, so that what is left over is ours, not the model's rounding.
    model = made(kind).double()
    sources, scores = drawn(questions, documents, seed=beams)
    find = token_beams if mode == "token" else sequence_beams
    found = find(generator_of(made(kind).double()), sources, scores, BeamSearch(beams, 8))
    for own, own_scores, hypotheses in zip(sources, scores, found, strict=True):
        assert hypotheses
        for hypothesis in hypotheses:
            expected, posterior = brute_force(model, own, own_scores, hypothesis.ids, mode)
            assert hypothesis.log_probability == pytest.approx(expected, abs=1e-5)
            assert hypothesis.posterior == pytest.approx(posterior, abs=1e-5)
            assert sum(hypothesis.posterior) == pytest.approx(1, abs=1e-5)
            assert hypothesis.score == pytest.approx(
                hypothesis.log_probability / len(hypothesis.ids)
            )
        ranked = [hypothesis.score for hypothesis in hypotheses]
        assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize("mode", ["token", "sequence"])
@pytest.mark.parametrize("kind", ["bart", "t5"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_wide_beams_find_the_best_of_all_answers(kind, mode, penalty):
    longest = 4
    others = [token for token in range(SMALL) if token != tiny.EOS]
    answers = [
        (*words, tiny.EOS) for n in range(longest) for words in itertools.product(others, repeat=n)
    ] + list(itertools.product(others, repeat=longest))
    find = token_beams if mode == "token" else sequence_beams
    for seed in (0, 1):
        generator = generator_of(made(kind, seed, SMALL))
        sources, scores = drawn(1, 3, seed, SMALL)
        [found] = find(generator, sources, scores, BeamSearch(256, longest, penalty))
        log_probs = answer_log_probs(generator, sources[0], answers).double()
        prior = torch.tensor(scores[0], dtype=torch.float64).log_softmax(-1)
        marginal = (
            (prior[:, None, None] + log_probs).logsumexp(0)
            if mode == "token"
            else (prior[:, None] + log_probs.sum(-1)).logsumexp(0)
        )
        if mode == "token":
            lengths = torch.tensor([len(answer) for answer in answers])
            there = torch.arange(longest) < lengths[:, None]
            marginal = marginal.where(there, 0.0).sum(-1)
        assert marginal.exp().sum().item() == pytest.approx(1, abs=1e-4)  # all there are
        penalised = marginal / torch.tensor([len(a) for a in answers]) ** penalty
        best = int(penalised.argmax())
        assert found[0].ids == answers[best]
        assert found[0].log_probability == pytest.approx(marginal[best].item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["bart", "t5"])
@pytest.mark.parametrize("penalty", [1.0, 0.0, 2.0])
def test_rag_token_is_that_of_transformers_token_for_token(kind, penalty):
    ended = 0
    for seed, (questions, documents, beams) in enumerate(SHAPES):
        rag = tiny.tiny_rag("token", generator=made(kind, seed))
        generator = generator_of(made(kind, seed))
        sources, scores = drawn(questions, documents, seed)
        ours = token_beams(generator, sources, scores, BeamSearch(beams, 10, penalty))
        for own, own_scores, hypotheses in zip(sources, scores, ours, strict=True):
            ids, mask = padded(own)
            theirs = rag.generate(
                context_input_ids=ids,
                context_attention_mask=mask,
                doc_scores=torch.tensor([own_scores]),
                n_docs=documents,
                num_beams=beams,
                max_length=11,  # the decoder's first token among them
                length_penalty=penalty,
            )[0, 1:].tolist()
            if tiny.EOS in theirs:
                theirs = theirs[: theirs.index(tiny.EOS) + 1]
                ended += 1
            assert list(hypotheses[0].ids) == theirs
    assert ended or kind == "t5"


def test_rag_sequence_is_scored_as_by_transformers_forward():
    rag = tiny.tiny_rag("sequence", generator=made("bart"))
    [own], [scores] = drawn(1, 4)
    [found] = sequence_beams(generator_of(made("bart")), [own], [scores], BeamSearch(3, 8))
    # transformers adds the prior at the second token, and loses it where there is none.
    compared = [hypothesis for hypothesis in found if len(hypothesis.ids) > 1]
    assert len(compared) >= 3
    ids, mask = padded(own)
    for hypothesis in compared:
        with torch.no_grad():
            loss = rag(
                context_input_ids=ids,
                context_attention_mask=mask,
                doc_scores=torch.tensor([scores]),
                labels=torch.tensor([[rag.config.decoder_start_token_id, *hypothesis.ids]]),
                n_docs=4,
            ).loss
        assert hypothesis.log_probability == pytest.approx(-loss.item(), rel=1e-5)


def test_fast_decoding_counts_an_answer_only_where_it_was_found():
    model = made("bart")
    sources, scores = drawn(2, 3)
    search = BeamSearch(3, 6)
    generator = generator_of(made("bart"))
    thorough = sequence_beams(generator, sources, scores, search)
    fast = sequence_beams(generator, sources, scores, search, thorough=False)
    for own, own_scores, all_of, found in zip(sources, scores, thorough, fast, strict=True):
        assert {each.ids for each in all_of} == {each.ids for each in found}
        known = {each.ids: each for each in all_of}
        alone = [
            {each.ids for each in sequence_beams(generator, [[source]], [[0.0]], search)[0]}
            for source in own
        ]
        prior = torch.tensor(own_scores, dtype=torch.float64).softmax(-1)
        for hypothesis in found:
            whole = plain_log_probs(model, own, hypothesis.ids).sum(-1).exp()
            there = torch.tensor([hypothesis.ids in ids for ids in alone])
            joint = (prior * whole).where(there, 0.0)
            assert hypothesis.log_probability == pytest.approx(joint.sum().log().item(), rel=1e-5)
            assert hypothesis.posterior == pytest.approx((joint / joint.sum()).tolist(), abs=1e-4)
            assert hypothesis.log_probability <= known[hypothesis.ids].log_probability + 1e-4


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_a_question_is_answered_alike_alone_and_among_others(mode):
    find = token_beams if mode == "token" else sequence_beams
    generator = generator_of(made("bart", seed=2))
    sources, scores = drawn(6, 5, seed=4)
    ragged = [each[: 1 + at % 5] for at, each in enumerate(sources)]
    own_scores = [each[: 1 + at % 5] for at, each in enumerate(scores)]
    search = BeamSearch(4, 12)
    together = find(generator, ragged, own_scores, search)
    for at, found in enumerate(together):
        [alone] = find(generator, [ragged[at]], [own_scores[at]], search)
        assert [each.ids for each in alone] == [each.ids for each in found]
        for one, other in zip(alone, found, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, rel=1e-5)
            assert one.posterior == pytest.approx(other.posterior, abs=1e-4)
            assert len(other.posterior) == len(ragged[at])


def test_the_order_of_documents_does_not_matter():
    generator = generator_of(made("bart", seed=3))
    [own], [scores] = drawn(1, 4, seed=1)
    search = BeamSearch(4, 8)
    for find in (token_beams, sequence_beams):
        [there] = find(generator, [own], [scores], search)
        [back] = find(generator, [own[::-1]], [scores[::-1]], search)
        assert there[0].ids == back[0].ids
        assert there[0].posterior == pytest.approx(back[0].posterior[::-1], abs=1e-4)


def test_a_certain_document_answers_alone():
    generator = generator_of(made("bart", seed=1))
    [own], _ = drawn(1, 3, seed=2)
    search = BeamSearch(3, 8)
    [alone] = token_beams(generator, [[own[1]]], [[0.0]], search)
    for find in (token_beams, sequence_beams):
        [found] = find(generator, [own], [[0.0, 200.0, 0.0]], search)
        assert found[0].ids == alone[0].ids
        assert found[0].posterior == pytest.approx((0, 1, 0), abs=1e-6)


def test_a_forced_first_token_counts_in_the_length_and_not_in_the_probability():
    model = made("bart")
    sources, scores = drawn(1, 2)
    plain = generator_of(model)
    forced = Seq2Seq(
        **{name: getattr(plain, name) for name in Seq2Seq.__slots__} | {"forced_id": tiny.BOS}
    )
    theirs = model.generate(
        *[torch.tensor([sources[0][0]])], num_beams=3, max_length=8, forced_bos_token_id=tiny.BOS
    )[0].tolist()
    [found] = token_beams(forced, [[sources[0][0]]], [[0.0]], BeamSearch(3, 7))
    expected = theirs[2:]
    if tiny.EOS in expected:
        expected = expected[: expected.index(tiny.EOS) + 1]
    assert list(found[0].ids) == expected
    assert found[0].score == pytest.approx(found[0].log_probability / (1 + len(found[0].ids)))
    log_probs = answer_log_probs(forced, sources[0], [found[0].ids])
    assert log_probs[0].sum().item() == pytest.approx(found[0].log_probability, rel=1e-5)
    [whole] = sequence_beams(forced, sources, scores, BeamSearch(3, 7))
    assert whole[0].score == pytest.approx(whole[0].log_probability / (1 + len(whole[0].ids)))


def test_keys_are_shared_for_a_while_and_the_model_is_as_it_was():
    model = made("bart")
    before = model.config._attn_implementation
    with sharing_keys(model):
        assert model.config._attn_implementation != before
    assert model.config._attn_implementation == before
    share_keys(model)
    with sharing_keys(model):
        pass
    assert model.config._attn_implementation != before


def test_a_model_that_cannot_share_keys_is_named():
    model = made("bart")
    model.set_attn_implementation = lambda name: None
    with pytest.raises(ModelError, match="BartForConditionalGeneration"):
        share_keys(model)
