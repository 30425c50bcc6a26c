"""Tiny checkpoints of many architectures with random weights, each saved in a moment.

Their tokenizers are trained on a few sentences. There is one of each kind: WordPiece (as BERT's),
byte-level BPE (as RoBERTa's), and Unigram as XLM-R has it and as DeBERTa-v2 has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import ByteLevel, RobertaProcessing, TemplateProcessing
from transformers import PreTrainedTokenizerFast

SENTENCES = [
    "The battery lasts about two days, but the strap feels cheap.",
    "How long does the battery last?",
    "Spotless! Breakfast, however: cold eggs & weak coffee... 2/5.",
    "I love this café 😀 so much; naïve users ﬁnd it hard… 日本語 テスト です",
    "It fits under the seat and the zipper is two-way.",
    "Is it bright enough to work by?",
    "The light doesn't dazzle when you look up",
] * 30
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
DEBERTA_SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
BERT_PAIR = ("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
POSITIONS = 128


def template(tokenizer: Tokenizer, single: str, pair: str) -> TemplateProcessing:
    """Special tokens around a text and a pair, with the ids that the tokenizer has for them."""
    named = {
        part.split(":")[0] for part in (single + " " + pair).split() if not part.startswith("$")
    }
    return TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in sorted(named)],
    )


def wordpiece(specials: list[str] = BERT_SPECIALS) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=specials, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = (
        template(tokenizer, *BERT_PAIR)
        if specials is BERT_SPECIALS
        else roberta_pair(trim_offsets=True)
    )
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=ROBERTA_SPECIALS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = roberta_pair(trim_offsets=True)
    return tokenizer


def roberta_pair(**options: Any) -> RobertaProcessing:
    return RobertaProcessing(("</s>", 2), ("<s>", 0), **{"add_prefix_space": False, **options})


def unigram(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces])
    metaspace = pre_tokenizers.Metaspace()
    splits = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    tokenizer.pre_tokenizer = splits if specials is ROBERTA_SPECIALS else metaspace
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=260, special_tokens=specials, unk_token=specials[3], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    pair = BERT_PAIR
    if specials is ROBERTA_SPECIALS:
        pair = ("<s> $A </s>", "<s> $A </s> </s> $B </s>")
    tokenizer.post_processor = template(tokenizer, *pair)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "bert": wordpiece,
    "mpnet": lambda: wordpiece(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]),
    "roberta": byte_level,
    "xlmr": lambda: unigram(ROBERTA_SPECIALS),
    "deberta": lambda: unigram(DEBERTA_SPECIALS),
}


@cache
def _trained(kind: str) -> str:
    return KINDS[kind]().to_str()


def tokenizer_of(kind: str) -> Tokenizer:
    """A tokenizer of one of the `KINDS`, its own copy."""
    return Tokenizer.from_str(_trained(kind))


def fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer as transformers has it, with the roles of its special tokens."""
    vocabulary = tokenizer.get_vocab()
    names = {
        "pad_token": ("[PAD]", "<pad>"),
        "unk_token": ("[UNK]", "<unk>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "mask_token": ("[MASK]", "<mask>"),
    }
    roles = {
        role: next(each for each in known if each in vocabulary) for role, known in names.items()
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


class Architecture(NamedTuple):
    """How a tiny reader of an architecture is made.

    Args:
        name: of its classes in transformers, such as `Bert`.
        tokenizer: one of `KINDS`.
        options: of its config.
        pair: how it lays out a text and a pair, if not as its tokenizer does.
        positions: tokens that it can read; None: any number.
        spread: of its weights; without layer norms, large ones grow from layer to layer.
    """

    name: str
    tokenizer: str
    options: dict[str, Any] = {}
    pair: tuple[str, str] | None = None
    positions: int | None = POSITIONS
    spread: float = 0.3


# RoBERTa-like models begin to count at the row after the padding's.
AFTER_PADDING = {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1}
PLAIN = {"max_position_embeddings": POSITIONS, "pad_token_id": 0}
ENDS = {"bos_token_id": 0, "eos_token_id": 2}

ARCHITECTURES = {
    "bert": Architecture("Bert", "bert", SIZES | PLAIN),
    "electra": Architecture("Electra", "bert", SIZES | PLAIN | {"embedding_size": 16}),
    "distilbert": Architecture(
        "DistilBert", "bert", PLAIN | {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    ),
    "mobilebert": Architecture(
        "MobileBert",
        "bert",
        SIZES | PLAIN | {"embedding_size": 16, "intra_bottleneck_size": 16},
        spread=0.1,
    ),
    "bigbird": Architecture(
        "BigBird", "bert", SIZES | PLAIN | {"attention_type": "original_full", "sep_token_id": 3}
    ),
    "funnel": Architecture(
        "Funnel",
        "bert",
        {"block_sizes": [1, 1], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64},
        ("[CLS]:2 $A:0 [SEP]:0", "[CLS]:2 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        positions=None,
    ),
    "mpnet": Architecture("MPNet", "mpnet", SIZES | AFTER_PADDING),
    "roberta": Architecture("Roberta", "roberta", SIZES | AFTER_PADDING | {"type_vocab_size": 1}),
    "longformer": Architecture(
        "Longformer",
        "roberta",
        SIZES | AFTER_PADDING | ENDS | {"attention_window": 16, "sep_token_id": 2},
    ),
    "modernbert": Architecture(
        "ModernBert",
        "roberta",
        SIZES
        | ENDS
        | {
            "max_position_embeddings": POSITIONS,
            "pad_token_id": 1,
            "cls_token_id": 0,
            "sep_token_id": 2,
            "local_attention": 16,
            "global_attn_every_n_layers": 2,
        },
        ("<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 $B:1 </s>:1"),
    ),
    "bart": Architecture(
        "Bart",
        "roberta",
        ENDS
        | {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": POSITIONS,
            "pad_token_id": 1,
        },
    ),
    "gpt2": Architecture(
        "GPT2",
        "roberta",
        ENDS | {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
        ("$A", "$A $B"),
        positions=64,
    ),
    "xlmr": Architecture("XLMRoberta", "xlmr", SIZES | AFTER_PADDING | {"type_vocab_size": 1}),
    "camembert": Architecture("Camembert", "xlmr", SIZES | AFTER_PADDING | {"type_vocab_size": 1}),
    "deberta2": Architecture(
        "DebertaV2",
        "deberta",
        SIZES
        | PLAIN
        | {
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
    "albert": Architecture("Albert", "deberta", SIZES | PLAIN | {"embedding_size": 16}),
    "xlnet": Architecture(
        "XLNet",
        "deberta",
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
        ("$A:0 [SEP]:0 [CLS]:2", "$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2"),
        positions=None,
    ),
    "t5": Architecture(
        "T5",
        "deberta",
        {
            "d_model": 32,
            "num_layers": 2,
            "num_heads": 2,
            "d_ff": 64,
            "d_kv": 16,
            "pad_token_id": 0,
            "eos_token_id": 2,
            "decoder_start_token_id": 0,
        },
        ("$A [SEP]", "$A [SEP] $B [SEP]"),
        positions=None,
    ),
}


def save_reader(name: str, folder: Path) -> Path:
    """Save a tiny reader of one of the `ARCHITECTURES`; its answers differ from text to text."""
    made = ARCHITECTURES[name]
    tokenizer = tokenizer_of(made.tokenizer)
    if made.pair is not None:
        tokenizer.post_processor = (
            ByteLevel(trim_offsets=False)
            if made.pair == ("$A", "$A $B")
            else template(tokenizer, *made.pair)
        )
    config = getattr(transformers, f"{made.name}Config")(
        vocab_size=tokenizer.get_vocab_size(), **made.options
    )
    head = "ForQuestionAnsweringSimple" if name == "xlnet" else "ForQuestionAnswering"
    torch.manual_seed(1)
    model = getattr(transformers, made.name + head)(config)
    _spread(model, made.spread)
    model.save_pretrained(folder)
    fast(tokenizer).save_pretrained(folder)
    return folder


def save_dpr(folder: Path, *, projection: int = 0, seed: int = 3) -> tuple[Path, Path]:
    """Save a pair of DPR encoders; return the folders of the passages' and of the questions'."""
    torch.manual_seed(seed)
    tokenizer = tokenizer_of("bert")
    config = transformers.DPRConfig(
        vocab_size=tokenizer.get_vocab_size(), projection_dim=projection, **SIZES, **PLAIN
    )
    for kind, place in (("Context", "passages"), ("Question", "questions")):
        model = getattr(transformers, f"DPR{kind}Encoder")(config)
        _spread(model)
        model.save_pretrained(folder / place)
        fast(tokenizer).save_pretrained(folder / place)
    return folder / "passages", folder / "questions"


def save_rag(folder: Path, questions: Path, generator: Any) -> Path:
    """Save a RAG checkpoint of a DPR question encoder and a BART, as transformers does."""
    encoder = transformers.DPRQuestionEncoder.from_pretrained(questions)
    config = transformers.RagConfig.from_question_encoder_generator_configs(
        encoder.config,
        generator.config,
        pad_token_id=generator.config.pad_token_id,
        bos_token_id=generator.config.bos_token_id,
        eos_token_id=generator.config.eos_token_id,
        decoder_start_token_id=generator.config.decoder_start_token_id,
        vocab_size=generator.config.vocab_size,
        retrieval_vector_size=encoder.config.hidden_size,
        max_combined_length=64,
    )
    model = transformers.RagTokenForGeneration(
        config=config, question_encoder=encoder, generator=generator
    )
    model.save_pretrained(folder)
    fast(tokenizer_of("bert")).save_pretrained(folder / "question_encoder_tokenizer")
    return folder


def _spread(model: Any, spread: float = 0.3) -> None:
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(0, spread)
