"""A seq2seq model that reads a question beside a document, and how the two are laid out for it."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from qa_system.checkpoints import load_config, load_model, load_part, positions_of
from qa_system.errors import ConfigError, ModelError, QuestionTooLongError
from qa_system.inference import choose_torch_device, choose_torch_precision, load_tokenizer
from qa_system.models import ModelLocation
from qa_system.readers.windows import MINIMUM_CONTEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "GENERATOR",
    "PARTS_TEMPLATE",
    "GeneratorFacts",
    "Mode",
    "Seq2Seq",
    "SourceLayout",
    "load_seq2seq",
    "read_facts",
    "write_facts",
]

Mode = Literal["token", "sequence"]

APOSTROPHE = re.compile(r"(?<=\w) ['’] (?=(?:s|t|re|ve|ll|d|m)\b)")

GENERATOR = "generator.json"
"""What training leaves beside the weights: `GeneratorFacts`."""

PARTS_TEMPLATE = "question: {question} context: {text}"
"""For a BART or T5 that nobody trained as a RAG generator; T5 was trained on SQuAD in this form."""

PARTS_SOURCE_LENGTH = 384
PURPOSE = "generation"
REMEDY = (
    "Name a folder that `qa train generator` wrote, a RAG checkpoint, or a BART or T5, "
    "with its weights in safetensors."
)


@dataclass(frozen=True, slots=True)
class GeneratorFacts:
    """What a generator must be told to be used as it was trained.

    Args:
        template: see `SourceLayout`.
        max_source_length: tokens of question and document at most, special tokens included.
        max_answer_length: tokens of an answer at most, its end included.
        score_scale: what a document's score is multiplied by before the softmax over documents;
            20 is what sentence-transformers gives cosines.
        mode: the marginalisation of its loss.
        question_encoder: the subfolder of the question encoder trained with it, if one was.
    """

    template: str
    max_source_length: int = 384
    max_answer_length: int = 32
    score_scale: float = 20.0
    mode: Mode = "token"
    question_encoder: str | None = None


def write_facts(folder: Path, facts: GeneratorFacts) -> None:
    """Write `generator.json`.

    >>> write_facts(Path("."), GeneratorFacts("{question} {text}"))
    >>> read_facts(Path(".")).max_answer_length
    32
    """
    record = {"format": 1, **asdict(facts)}
    (folder / GENERATOR).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")


def read_facts(folder: Path) -> GeneratorFacts:
    """Read `generator.json`.

    Raises:
        ModelError: it is missing, damaged, or of a later format.
    """
    path = folder / GENERATOR
    try:
        record = orjson.loads(path.read_bytes())
        if record.pop("format") != 1:
            raise ValueError("it is of another format than 1")
        facts = GeneratorFacts(**record)
        numbers = (facts.max_source_length, facts.max_answer_length, facts.score_scale)
        if facts.mode not in ("token", "sequence") or not all(number > 0 for number in numbers):
            raise ValueError("a value is out of its range")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ModelError(
            f"the generator's settings cannot be read: {fault}",
            where=str(path),
            remedy=f"It holds format: 1 and {', '.join(f.name for f in fields(GeneratorFacts))}.",
        ) from fault
    return facts


class SourceLayout:
    """How a question and a document become what the encoder reads.

    White space is one space, whatever it was. Special tokens that stand in the template are
    special tokens; in a question or a review the same letters are letters. What the tokenizer
    puts around a single text comes around the whole.

    Args:
        tokenizer: without truncation and padding.
        template: with `{question}`, `{text}` and, where wanted, `{title}`; braces that are meant
            are doubled.
        max_length: tokens of a source at most. The text is cut to fit, at its end; question,
            title and template never are.

    Raises:
        ConfigError: the template is not of this form.
    """

    def __init__(self, tokenizer: Tokenizer, template: str, max_length: int) -> None:
        self.template = template
        self.max_length = max_length
        # A copy: the same switch on the model's own would tokenise the template's special tokens.
        self._plain = type(tokenizer).from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True
        around = tokenizer.encode("a")
        inner = [at for at, special in enumerate(around.special_tokens_mask) if not special]
        first, last = (inner[0], inner[-1] + 1) if inner else (0, 0)
        self._begin, self._end = around.ids[:first], around.ids[last:]
        self._parts = _parts(template, tokenizer)

    def source_ids(
        self, question: str, texts: Sequence[str], titles: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Lay out a question with each of several texts.

        Args:
            question: what is asked.
            texts: the documents' texts.
            titles: the documents' titles; None: they have none.

        Raises:
            QuestionTooLongError: the question leaves too little room for the text.
        """
        asked = " ".join(question.split())
        values = [
            {"question": asked, "text": " ".join(text.split()), "title": " ".join(title.split())}
            for text, title in zip(texts, titles or [""] * len(texts), strict=True)
        ]
        filled = [part.fill(each) for each in values for part in self._parts]
        encodings = iter(
            self._plain.encode_batch([text for text, _ in filled], add_special_tokens=False)
        )
        places = iter(filled)
        return [
            self._source(
                question,
                [(part.token_id, next(encodings), next(places)[1]) for part in self._parts],
            )
            for _ in values
        ]

    def _source(
        self, question: str, parts: Sequence[tuple[int | None, Any, tuple[int, int]]]
    ) -> list[int]:
        before: list[int] = list(self._begin)
        inside: list[int] = []
        after: list[int] = []
        reading = before
        for token_id, encoding, (start, stop) in parts:
            if token_id is not None:
                reading.append(token_id)
                continue
            if stop < 0:
                reading += encoding.ids
                continue
            for token, (first, last) in zip(encoding.ids, encoding.offsets, strict=True):
                if first >= stop:
                    after.append(token)
                elif last > start:
                    inside.append(token)
                else:
                    before.append(token)
            reading = after
        after += self._end
        room = self.max_length - len(before) - len(after)
        if room < min(MINIMUM_CONTEXT, self.max_length // 2):
            raise QuestionTooLongError(
                f"the question and the template have {len(before) + len(after)} tokens, which "
                f"leaves room for {max(room, 0)} of the review in a source of {self.max_length}",
                where=f"{question[:60]}..." if len(question) > 60 else question,
                remedy="Ask a shorter question, or set a larger generator.max_source_length "
                "if the model has the positions.",
            )
        return before + inside[:room] + after


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the template: a special token, or words and fields between two of them."""

    token_id: int | None
    pieces: tuple[tuple[str, str | None], ...]

    def fill(self, values: dict[str, str]) -> tuple[str, tuple[int, int]]:
        """Give the text, and from where to where the document's stands in it; -1: nowhere."""
        text, place = "", (-1, -1)
        for literal, field in self.pieces:
            text += literal
            if field is not None:
                if field == "text":
                    place = (len(text), len(text) + len(values[field]))
                text += values[field]
        return text, place


def _parts(template: str, tokenizer: Tokenizer) -> list[_Part]:
    remedy = 'Write it as "question: {question} context: {text}"; {title} may be in it too.'
    try:
        pieces = [(literal, field) for literal, field, *_ in string.Formatter().parse(template)]
    except ValueError as fault:
        raise ConfigError(f"template {template!r}: {fault}", remedy=remedy) from fault
    named = [field for _, field in pieces if field is not None]
    if sorted(named) not in (["question", "text"], ["question", "text", "title"]):
        raise ConfigError(
            f"template {template!r} has the fields {', '.join(named) or 'none'}", remedy=remedy
        )
    specials = {
        token.content: number
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if token.special
    }
    parts: list[_Part] = []
    open_pieces: list[tuple[str, str | None]] = []
    for literal, field in pieces:
        rest = literal
        while found := _first_special(rest, specials):
            open_pieces.append((rest[: rest.index(found)], None))
            parts.append(_Part(None, tuple(open_pieces)))
            parts.append(_Part(specials[found], ()))
            open_pieces, rest = [], rest[rest.index(found) + len(found) :]
        open_pieces.append((rest, field))
    parts.append(_Part(None, tuple(open_pieces)))
    return parts


def _first_special(text: str, specials: dict[str, int]) -> str | None:
    found = [token for token in specials if token in text]
    # Of two at the same place the longer one, as tokenizers has it.
    return min(found, key=lambda token: (text.index(token), -len(token)), default=None)


@dataclass(frozen=True, slots=True)
class Seq2Seq:
    """A generator, ready to infer.

    Args:
        model: one of transformers' `...ForConditionalGeneration`, in eval mode.
        tokenizer: its own, without truncation and padding.
        layout: of question and document.
        score_scale: see `GeneratorFacts`.
        start_id: the decoder's first token, which no answer shows.
        eos_id: the token that ends an answer.
        pad_id: the token that fills up.
        mode: as trained.
        max_answer_length: tokens of an answer at most, as trained.
        forced_id: a token that every answer is made to begin with (`forced_bos_token_id`), whose
            probability counts as 1; None: there is none.
        positions: of the decoder; None: any number.
        precision: `fp32`, `bf16` or `fp16`.
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

    @property
    def device(self) -> Any:
        """The torch device that the model is on."""
        return self.model.device

    @property
    def prompt_ids(self) -> list[int]:
        """What the decoder is given before it chooses its first token."""
        return [self.start_id] if self.forced_id is None else [self.start_id, self.forced_id]

    def source_ids(
        self, question: str, texts: Sequence[str], titles: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Lay out a question with each of several texts; see `SourceLayout`."""
        return self.layout.source_ids(question, texts, titles)

    def decode(self, ids: Sequence[int]) -> str:
        """Give an answer's text, without special tokens.

        WordPiece does not keep spaces, and its decoder writes "doesn ' t": English contractions
        are joined again.
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

    Three kinds are known: what `qa train generator` wrote (it holds `generator.json`), a RAG
    checkpoint of transformers (its generator is taken, its question encoder is not), and any
    BART or T5, which is laid out by `PARTS_TEMPLATE`. What a RAG checkpoint reads is laid out as
    `RagRetriever` does; that one also puts the question through the question encoder's
    tokenizer, which lower-cases it: do so yourself where it matters.

    Args:
        location: the folder, with weights in safetensors.
        device: `auto` takes a GPU where there is one.
        precision: `auto` takes bf16 where the hardware multiplies it.
        template: takes the place of the model's own.
        max_source_length: likewise; None where the model says nothing: 384, or what it has
            positions for.
        score_scale: likewise; None where the model says nothing: 1.

    Raises:
        ModelError: the model is missing, damaged, or of another kind.
        ConfigError: the template cannot be used, or `max_source_length` is more than the model
            has positions.
        MissingDependencyError: torch or transformers are not installed.
    """
    torch_device = choose_torch_device(device)
    dtype = choose_torch_precision(precision, torch_device)
    from qa_system.generators.attention import share_keys

    if location.format != "torch":
        raise ModelError(
            f"{location.name!r} is an export, and a generator is a checkpoint",
            where=str(location.path),
            remedy=REMEDY,
        )
    config = load_config(location, purpose=PURPOSE, remedy=REMEDY)
    if config.model_type == "rag":
        model, facts = _rag_generator(location, config, dtype), _rag_facts(config)
        tokenizer = load_tokenizer(location.path / "generator_tokenizer", config.generator)
    else:
        model = _parts_generator(location, dtype)
        facts = _parts_facts(location, positions_of(model.get_encoder()))
        tokenizer = load_tokenizer(location.path, config)
    ids = config if config.model_type == "rag" else model.generation_config
    model = model.to(torch_device).eval()
    share_keys(model, where=str(location.path))
    positions = positions_of(model.get_encoder())
    length = max_source_length or facts.max_source_length
    if positions is not None and length > positions:
        raise ConfigError(
            f"max_source_length is {length}, and the generator has {positions} positions",
            where=location.name,
            remedy=f"Set generator.max_source_length to {positions} at most.",
        )
    eos = _id("eos_token_id", location, ids, model.config)
    bos = _id("bos_token_id", location, ids, model.config, otherwise=eos)
    return Seq2Seq(
        model=model,
        tokenizer=tokenizer,
        layout=SourceLayout(tokenizer, template or facts.template, length),
        score_scale=facts.score_scale if score_scale is None else score_scale,
        start_id=_id("decoder_start_token_id", location, ids, model.config, otherwise=bos),
        eos_id=eos,
        pad_id=_id("pad_token_id", location, ids, model.config, otherwise=eos),
        mode=facts.mode,
        max_answer_length=facts.max_answer_length,
        forced_id=getattr(ids, "forced_bos_token_id", None),
        positions=positions_of(model.get_decoder()),
        precision={"bfloat16": "bf16", "float16": "fp16"}.get(
            str(dtype).removeprefix("torch."), "fp32"
        ),
    )


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
