"""Tiny seq2seq checkpoints with random weights, saved to a folder in a second.

A word-level tokenizer over a closed list of words (`WORDS`), lower-cased, with the special tokens
`<s> </s> <pad> <unk> <mask> [SEP]`. Weights are drawn wider than transformers does, so that
different documents give different answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

BOS, PAD, EOS, UNK, MASK, SEP = range(6)
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[SEP]")
WORDS = tuple(
    """
    question context : ? . , / the a is it how long does battery last lasts ten two hours days
    screen bright dim strap leather cheap good not very yes no charge fast slow light small big
    red blue sound loud quiet price low high and but for with of to in on i my was works broke
    after one year week
    """.split()  # noqa: SIM905 (read as a text)
)
VOCABULARY = len(SPECIALS) + len(WORDS)


def tiny_tokenizer(kind: str = "bart") -> Any:
    """A `tokenizers.Tokenizer`; `bart` puts `<s> ... </s>` around a text, `t5` ends it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary = {token: number for number, token in enumerate((*SPECIALS, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(list(SPECIALS))
    bart = kind == "bart"
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if bart else "$A </s>",
        pair="<s> $A </s> $B </s>" if bart else "$A </s> $B </s>",
        special_tokens=[("<s>", BOS), ("</s>", EOS)],
    )
    return tokenizer


def tiny_bart(*, vocabulary: int = VOCABULARY, seed: int = 0, spread: float = 0.5) -> Any:
    """A `BartForConditionalGeneration` in eval mode; the answer begins after `</s>`, as BART's."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=vocabulary,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=128,
        init_std=spread,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
        dropout=0.0,
    )
    torch.manual_seed(seed)
    return BartForConditionalGeneration(config).eval()


def tiny_t5(*, vocabulary: int = VOCABULARY, seed: int = 0, spread: float = 2.0) -> Any:
    """A `T5ForConditionalGeneration` in eval mode; the answer begins after `<pad>`, as T5's."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=vocabulary,
        d_model=16,
        d_kv=4,
        d_ff=32,
        num_layers=2,
        num_heads=4,
        initializer_factor=spread,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        dropout_rate=0.0,
    )
    torch.manual_seed(seed)
    return T5ForConditionalGeneration(config).eval()


def tiny_rag(kind: str = "token", *, generator: Any = None, seed: int = 0) -> Any:
    """A `RagTokenForGeneration` or `RagSequenceForGeneration` in eval mode, without a retriever.

    Args:
        kind: `token` or `sequence`.
        generator: a BART or T5; None: `tiny_bart()`.
        seed: of the question encoder and of the BART.
    """
    import torch
    from transformers import (
        DPRConfig,
        DPRQuestionEncoder,
        RagConfig,
        RagSequenceForGeneration,
        RagTokenForGeneration,
    )

    generator = tiny_bart(seed=seed) if generator is None else generator
    torch.manual_seed(seed + 1)
    encoder = DPRQuestionEncoder(
        DPRConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    )
    config = RagConfig.from_question_encoder_generator_configs(
        encoder.config,
        generator.config,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=generator.config.decoder_start_token_id,
        vocab_size=generator.config.vocab_size,
        retrieval_vector_size=16,
        max_combined_length=64,
    )
    model = {"token": RagTokenForGeneration, "sequence": RagSequenceForGeneration}[kind]
    return model(config=config, question_encoder=encoder, generator=generator).eval()


def save_seq2seq(folder: Path, model: Any = None) -> Path:
    """Save a BART or T5 (None: `tiny_bart()`) with `tokenizer.json`; give the folder."""
    model = tiny_bart() if model is None else model
    model.save_pretrained(folder)
    kind = "t5" if model.config.model_type == "t5" else "bart"
    tiny_tokenizer(kind).save(str(folder / "tokenizer.json"))
    return folder


def save_rag(folder: Path, model: Any = None) -> Path:
    """Save a RAG model (None: `tiny_rag()`) as transformers does; give the folder."""
    model = tiny_rag() if model is None else model
    model.save_pretrained(folder)
    inside = folder / "generator_tokenizer"
    inside.mkdir()
    kind = "t5" if model.config.generator.model_type == "t5" else "bart"
    tiny_tokenizer(kind).save(str(inside / "tokenizer.json"))
    return folder
