"""RAG-Token, ours against transformers' own, at equal output.

    python -m benchmarks.generation                     # 16 questions, 5 documents, 5 beams
    python -m benchmarks.generation --questions 4 --rounds 1 --words 60

A BART of the size of all-MiniLM (6 + 6 layers, 384 wide, 30,522 words) with random weights, drawn
so that answers end; sources are random tokens of differing lengths. The peer is a plain loop over
`RagTokenForGeneration.generate`, a question a call, as its documentation has it: sources padded
to the question's longest. Ours is asked twice over: one question a call, and all of them in one.
All take turns, in fp32, on the CPU; answers are compared token for token, and ratios are medians
over the rounds of CPU seconds, which other work disturbs less.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

BAR = 1.5
DOCUMENTS, BEAMS = 5, 5
BOS, PAD, EOS = 101, 0, 102
VOCABULARY = 30_522
THEIRS, ALONE, TOGETHER = "transformers", "ours, one a call", "ours, all in a call"


def main(arguments: list[str] | None = None) -> int:
    """Print the table; give 1 if the bar is missed or an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int, default=160, help="source tokens, at most")
    parser.add_argument("--max-length", type=int, default=20, help="tokens of an answer, at most")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)

    import torch

    from qa_system.generators.beams import BeamSearch, token_beams
    from qa_system.generators.rag import CPU_BATCH_TOKENS

    torch.set_num_threads(chosen.threads)
    rag, generator = models()
    sources, scores = asked(chosen.questions, chosen.words)
    search = BeamSearch(BEAMS, chosen.max_length)
    at_once = max(CPU_BATCH_TOKENS // (DOCUMENTS * chosen.words), 1)

    def theirs() -> list[list[int]]:
        return [
            transformers_answer(rag, *each, chosen.max_length)
            for each in zip(sources, scores, strict=True)
        ]

    def ours(together: int) -> list[list[int]]:
        found: list[list[int]] = []
        for start in range(0, len(sources), together):
            part = slice(start, start + together)
            for best, *_ in token_beams(generator, sources[part], scores[part], search):
                found.append(list(best.ids))
        return found

    runs: dict[str, Callable[[], list[list[int]]]] = {
        THEIRS: theirs,
        ALONE: lambda: ours(1),
        TOGETHER: lambda: ours(at_once),
    }
    answers, clock, worked = timed(runs, chosen.rounds)
    same = {
        name: sum(a == b for a, b in zip(found, answers[THEIRS], strict=True)) / len(sources)
        for name, found in answers.items()
    }
    print_rows(answers, clock, worked, same, chosen)
    return int(not reached(worked, same))


def models() -> tuple[Any, Any]:
    """Return transformers' RAG-Token and our generator, each around a copy of the same weights."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        DPRConfig,
        DPRQuestionEncoder,
        RagConfig,
        RagTokenForGeneration,
    )

    from qa_system.generators.layout import SourceLayout
    from qa_system.generators.seq2seq import Seq2Seq

    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=384,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        max_position_embeddings=512,
        init_std=0.08,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_eos_token_id=None,
    )
    torch.manual_seed(0)
    ours = BartForConditionalGeneration(config).eval()
    ours.final_logits_bias[0, EOS] = 6.0
    theirs = BartForConditionalGeneration(config).eval()
    theirs.load_state_dict(ours.state_dict())
    encoder = DPRQuestionEncoder(
        DPRConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16)
    )
    rag_config = RagConfig.from_question_encoder_generator_configs(
        encoder.config,
        config,
        n_docs=DOCUMENTS,
        vocab_size=VOCABULARY,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
    )
    rag = RagTokenForGeneration(config=rag_config, question_encoder=encoder, generator=theirs)
    tokenizer = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    generator = Seq2Seq(
        model=ours,
        tokenizer=tokenizer,
        layout=SourceLayout(tokenizer, "{question} {text}", 512),
        score_scale=1.0,
        start_id=EOS,
        eos_id=EOS,
        pad_id=PAD,
    )
    return rag.eval(), generator


def asked(questions: int, words: int) -> tuple[list[list[list[int]]], list[list[float]]]:
    """Return sources of between half of `words` and `words` tokens, and scores."""
    import torch

    random = torch.Generator().manual_seed(1)
    lengths = torch.randint(words // 2, words + 1, (questions, DOCUMENTS), generator=random)
    sources = [
        [
            [BOS, *torch.randint(1000, VOCABULARY, (n - 2,), generator=random).tolist(), EOS]
            for n in own
        ]
        for own in lengths.tolist()
    ]
    scores: list[list[float]] = torch.randn(questions, DOCUMENTS, generator=random).tolist()
    return sources, scores


def transformers_answer(
    rag: Any, rows: Sequence[Sequence[int]], scores: Sequence[float], max_length: int
) -> list[int]:
    import torch

    from qa_system.models.inference import pad

    ids = torch.from_numpy(pad(rows, PAD))
    found: list[int] = rag.generate(
        context_input_ids=ids,
        context_attention_mask=torch.from_numpy(pad([[1] * len(row) for row in rows])),
        doc_scores=torch.tensor([scores]),
        n_docs=DOCUMENTS,
        num_beams=BEAMS,
        max_length=max_length + 1,
    )[0, 1:].tolist()
    return found[: found.index(EOS) + 1] if EOS in found else found


def timed(
    runs: dict[str, Callable[[], list[list[int]]]], rounds: int
) -> tuple[dict[str, list[list[int]]], dict[str, list[float]], dict[str, list[float]]]:
    """Run each in turn, after a round to warm up; give answers, the clock's and CPU seconds."""
    answers = {name: run() for name, run in runs.items()}
    clock: dict[str, list[float]] = {name: [] for name in runs}
    worked: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began, cpu = perf_counter(), process_time()
            run()
            clock[name].append(perf_counter() - began)
            worked[name].append(process_time() - cpu)
    return answers, clock, worked


def ratio(worked: dict[str, list[float]], name: str) -> float:
    return median(a / b for a, b in zip(worked[THEIRS], worked[name], strict=True))


def reached(worked: dict[str, list[float]], same: dict[str, float]) -> bool:
    return ratio(worked, TOGETHER) >= BAR and min(same.values()) == 1


def print_rows(
    answers: dict[str, list[list[int]]],
    clock: dict[str, list[float]],
    worked: dict[str, list[float]],
    same: dict[str, float],
    chosen: argparse.Namespace,
) -> None:
    from eval.report.tables import print_table

    mean_length = sum(map(len, answers[THEIRS])) / chosen.questions
    distinct = len({tuple(answer) for answer in answers[THEIRS]})
    print_table(
        f"RAG-Token, {chosen.questions} questions, {DOCUMENTS} documents, {BEAMS} beams, "
        f"threads: {chosen.threads}",
        {
            name: {
                "s a question": median(clock[name]) / chosen.questions,
                "CPU s": median(worked[name]) / chosen.questions,
                "times as fast": ratio(worked, name),
                "same answers": same[name],
            }
            for name in clock
        },
        ["s a question", "CPU s", "times as fast", "same answers"],
        [
            f"{distinct} distinct answers, {mean_length:.1f} tokens in the mean",
            f"sources of {chosen.words // 2} to {chosen.words} tokens; rounds: {chosen.rounds}",
            f"bar: all in a call, equal answers, {BAR} times as fast: "
            + ("reached" if reached(worked, same) else "MISSED"),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
