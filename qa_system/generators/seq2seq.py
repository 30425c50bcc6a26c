"""A seq2seq model (BART, T5, the generator of a RAG checkpoint), loaded and ready to infer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_system.errors import ConfigError, ModelError
from qa_system.generators.facts import GENERATOR, GeneratorFacts, Mode, read_facts
from qa_system.generators.layout import SourceLayout
from qa_system.models.checkpoints import load_config, load_model, load_part, reason
from qa_system.models.inference import choose_torch_device, choose_torch_precision, load_tokenizer
from qa_system.models.locate import ModelLocation
from qa_system.models.positions import positions_of
from qa_system.models.tokenizing import check_vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PARTS_TEMPLATE", "Seq2Seq", "load_seq2seq"]

APOSTROPHE = re.compile(r"(?<=\w) ['’] (?=(?:s|t|re|ve|ll|d|m)\b)")

PARTS_TEMPLATE = "question: {question} context: {text}"
"""For a BART or T5 that nobody trained as a RAG generator; T5 was trained on SQuAD in this form."""

PARTS_SOURCE_LENGTH = 384
PURPOSE = "generation"
PRECISIONS = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}
REMEDY = (
    "Name a folder that `qa train generator` wrote, a RAG checkpoint, or a BART or T5, "
    "with its weights in safetensors."
)


@dataclass(frozen=True, slots=True)
class Seq2Seq:
    """A generator, ready to infer.

    Args:
        model: one of transformers' `...ForConditionalGeneration`, in eval mode.
        tokenizer: the model's own, without truncation and padding.
        layout: of question and document.
        score_scale: see `GeneratorFacts`.
        start_id: the decoder's first token, which is no part of an answer.
        eos_id: the token that ends an answer.
        pad_id: the padding token.
        mode: as trained.
        max_answer_length: tokens of an answer at most, as trained.
        forced_id: the token that every answer has to begin with (`forced_bos_token_id`); its
            probability counts as 1. None: there is none.
        positions: the decoder's; None: any number.
        precision: `fp32`, `bf16` or `fp16`.
        where: the model's folder, for errors.
    """

    model: Any
    tokenizer: Tokenizer
    layout: SourceLayout
    score_scale: float
    start_id: int
    eos_id: int
    pad_id: int
    mode: Mode = "token"
    max_answer_length: int = 32
    forced_id: int | None = None
    positions: int | None = None
    precision: str = "fp32"
    where: str | None = None

    @property
    def device(self) -> Any:
        """The torch device that the model is on."""
        return self.model.device

    @property
    def prompt_ids(self) -> list[int]:
        """The tokens that the decoder reads before it chooses its first one."""
        return [self.start_id] if self.forced_id is None else [self.start_id, self.forced_id]

    def source_ids(
        self, question: str, texts: Sequence[str], titles: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Lay out a question with each of several texts; see `SourceLayout`."""
        return self.layout.source_ids(question, texts, titles)

    def decode(self, ids: Sequence[int]) -> str:
        """Return an answer's text, without special tokens.

        WordPiece does not keep spaces, and its decoder writes "doesn ' t", so English
        contractions are joined again.
        """
        from tokenizers.decoders import WordPiece

        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
        if isinstance(self.tokenizer.decoder, WordPiece):
            return APOSTROPHE.sub("'", text)
        return text


def load_seq2seq(
    location: ModelLocation,
    *,
    device: str = "auto",
    precision: str = "auto",
    template: str | None = None,
    max_source_length: int | None = None,
    score_scale: float | None = None,
) -> Seq2Seq:
    """Load a generator.

    Three kinds are known: a folder that `qa train generator` wrote (it holds `generator.json`),
    a RAG checkpoint of transformers (only its generator is used), and any BART or T5, whose
    template is `PARTS_TEMPLATE`. A RAG checkpoint's sources are laid out as by `RagRetriever`,
    except that the question keeps its case: lower-case it yourself where the model needs that.

    Args:
        location: the folder, with weights in safetensors.
        device: `auto` takes a GPU where there is one.
        precision: `auto` takes bf16 where the hardware multiplies it.
        template: replaces the model's own.
        max_source_length: likewise; the default is 384, or the model's positions if fewer.
        score_scale: likewise; the default is 1.

    Raises:
        ModelError: the model is missing, damaged, or of another kind.
        ConfigError: the template is malformed, or `max_source_length` exceeds the positions.
        MissingDependencyError: torch or transformers are not installed.
    """
    torch_device = choose_torch_device(device)
    dtype = choose_torch_precision(precision, torch_device)
    config, model, tokenizer = _parts_of(location, dtype)
    check_vocabulary(tokenizer, model, str(location.path))
    is_rag = config.model_type == "rag"
    positions = positions_of(model.get_encoder())
    facts = _rag_facts(config) if is_rag else _parts_facts(location, positions)
    model = _with_shared_keys(model.to(torch_device).eval(), where=str(location.path))
    length = _source_length(location, positions, max_source_length or facts.max_source_length)
    ids = config if is_rag else model.generation_config
    eos = _id("eos_token_id", location, ids, model.config)
    bos = _id("bos_token_id", location, ids, model.config, otherwise=eos)
    start = _id("decoder_start_token_id", location, ids, model.config, otherwise=bos)
    _check_writes(model, start, where=str(location.path))
    return Seq2Seq(
        model=model,
        tokenizer=tokenizer,
        layout=SourceLayout(tokenizer, template or facts.template, length),
        score_scale=facts.score_scale if score_scale is None else score_scale,
        start_id=start,
        eos_id=eos,
        pad_id=_id("pad_token_id", location, ids, model.config, otherwise=eos),
        mode=facts.mode,
        max_answer_length=facts.max_answer_length,
        forced_id=getattr(ids, "forced_bos_token_id", None),
        positions=positions_of(model.get_decoder()),
        precision=PRECISIONS[str(dtype)],
        where=str(location.path),
    )


def _with_shared_keys(model: Any, *, where: str) -> Any:
    from qa_system.generators.attention import share_keys

    share_keys(model, where=where)
    return model


def _check_writes(model: Any, token: int, *, where: str) -> None:
    """Refuse a model that cannot write a token beside a text that is encoded already."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    ids = torch.full((1, 1), token, device=model.device)
    try:
        with torch.no_grad():
            states = model.get_encoder()(input_ids=ids).last_hidden_state
            model(
                decoder_input_ids=ids,
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=torch.ones_like(ids),
            )
    except Exception as error:  # whatever a model may raise
        raise ModelError(
            f"the model ({type(model).__name__}) cannot write an answer: {reason(error)}",
            where=where,
            remedy=REMEDY,
        ) from error


def _parts_of(location: ModelLocation, dtype: Any) -> tuple[Any, Any, Any]:
    """Return a checkpoint's configuration, generator and tokenizer."""
    if location.format != "torch":
        raise ModelError(
            f"{location.name!r} is an export, and a generator is a checkpoint",
            where=str(location.path),
            remedy=REMEDY,
        )
    config = load_config(location, purpose=PURPOSE, remedy=REMEDY)
    if config.model_type == "rag":
        model = _rag_generator(location, config, dtype)
        tokenizer = load_tokenizer(location.path / "generator_tokenizer", config.generator)
        return config, model, tokenizer
    return config, _parts_generator(location, dtype), load_tokenizer(location.path, config)


def _rag_generator(location: ModelLocation, config: Any, dtype: Any) -> Any:
    from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING

    kind = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING.get(type(config.generator), None)
    if kind is None:
        raise ModelError(
            f"the generator is a {config.generator.model_type}, which is no seq2seq model",
            where=str(location.path),
            remedy=REMEDY,
        )
    return load_part(
        location,
        kind.__name__,
        config.generator,
        "generator",
        purpose=PURPOSE,
        remedy=REMEDY,
        dtype=dtype,
    )


def _parts_generator(location: ModelLocation, dtype: Any) -> Any:
    return load_model(
        location, "AutoModelForSeq2SeqLM", purpose=PURPOSE, remedy=REMEDY, dtype=dtype
    )


def _rag_facts(config: Any) -> GeneratorFacts:
    def literal(text: str | None) -> str:
        return (text or "").replace("{", "{{").replace("}", "}}")

    # As `RagRetriever.postprocess_docs` joins them.
    template = (
        f"{literal(config.prefix)}{{title}}{literal(config.title_sep)}"
        f"{{text}}{literal(config.doc_sep)}{{question}}"
    )
    architecture = str((config.architectures or [""])[0])
    mode: Mode = "sequence" if architecture.startswith("RagSequence") else "token"
    return GeneratorFacts(template, config.max_combined_length, score_scale=1.0, mode=mode)


def _parts_facts(location: ModelLocation, positions: int | None) -> GeneratorFacts:
    if (location.path / GENERATOR).exists():
        return read_facts(location.path)
    length = min(PARTS_SOURCE_LENGTH, positions or PARTS_SOURCE_LENGTH)
    return GeneratorFacts(PARTS_TEMPLATE, length, score_scale=1.0)


def _source_length(location: ModelLocation, positions: int | None, length: int) -> int:
    if positions is not None and length > positions:
        raise ConfigError(
            f"max_source_length is {length}, and the generator has {positions} positions",
            where=location.name,
            remedy=f"Set generator.max_source_length to {positions} at most.",
        )
    return length


def _id(name: str, location: ModelLocation, *configs: Any, otherwise: int | None = None) -> int:
    for config in configs:
        value = getattr(config, name, None)
        if isinstance(value, list):
            value = value[0] if value else None
        if value is not None:
            return int(value)
    if otherwise is None:
        raise ModelError(
            f"the generator's config.json has no {name}", where=str(location.path), remedy=REMEDY
        )
    return otherwise
