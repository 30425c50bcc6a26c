"""Texts translated into another language and back, where that kept numbers and negations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from qa_system.console.progress import progress
from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.checkpoints import load_model, reason
from qa_system.models.inference import choose_torch_device
from qa_system.models.locate import locate
from qa_system.models.positions import positions_of
from qa_system.models.tokenizing import check_vocabulary

__all__ = ["BackTranslator", "Translator", "keeps_facts"]

PURPOSE: Final = "translation"
REMEDY: Final = (
    "Name a seq2seq model that translates one language into another, for example "
    "Helsinki-NLP/opus-mt-en-de, with its weights in safetensors."
)
AT_ONCE: Final = 16
MOST_TOKENS: Final = 256

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|neither|nor|without|cannot|hardly|barely)\b|n['’]t\b",
    re.IGNORECASE,
)


def keeps_facts(text: str, translated: str) -> bool:
    """Tell whether a translation has words, and the numbers and as many negations as the text.

    >>> keeps_facts("It doesn't last 2 days.", "It does not hold 2 days.")
    True
    >>> keeps_facts("It doesn't last.", "It lasts."), keeps_facts("2 days", "3 days")
    (False, False)
    """
    return (
        any(map(str.isalnum, translated))
        and Counter(_NUMBER.findall(text)) == Counter(_NUMBER.findall(translated))
        and len(_NEGATION.findall(text)) == len(_NEGATION.findall(translated))
    )


class Translator:
    """Translate by a seq2seq model, greedily.

    Args:
        model: a folder or a Hub id.
        device: `cpu`, `cuda`, or `auto`.

    Raises:
        ModelError: it is missing, damaged, or no seq2seq model.
        MissingDependencyError: transformers is not installed.
    """

    def __init__(self, model: str, device: str = "auto") -> None:
        location = locate(model)
        self._device = choose_torch_device(device)
        loaded = load_model(location, "AutoModelForSeq2SeqLM", purpose=PURPOSE, remedy=REMEDY)
        self._model = loaded.to(self._device).eval()
        self._where = str(location.path)
        positions = (
            positions_of(each) or MOST_TOKENS
            for each in (loaded.get_encoder(), loaded.get_decoder())
        )
        self._most_tokens = min(MOST_TOKENS, *positions)
        self._tokenizer = _tokenizer_of(location.path, loaded)
        if (fast := getattr(self._tokenizer, "backend_tokenizer", None)) is not None:
            check_vocabulary(fast, loaded, self._where)

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Translate texts, one by one as they are, `AT_ONCE` at a time."""
        import torch

        order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
        found = [""] * len(texts)
        with progress("translating", unit="texts", total=len(texts)) as shown:
            for start in range(0, len(order), AT_ONCE):
                places = order[start : start + AT_ONCE]
                batch = self._tokenizer(
                    [texts[at] for at in places],
                    padding=True,
                    truncation=True,
                    max_length=self._most_tokens,
                    return_tensors="pt",
                )
                with torch.no_grad():
                    ids = self._model.generate(
                        input_ids=batch["input_ids"].to(self._device),
                        attention_mask=batch["attention_mask"].to(self._device),
                        max_new_tokens=self._most_tokens - 1,
                        num_beams=1,
                        do_sample=False,
                    )
                written = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
                for at, text in zip(places, written, strict=True):
                    found[at] = " ".join(text.split())
                shown.advance(len(places))
        return found


def _tokenizer_of(folder: Path, model: Any) -> Any:
    """Load a translator's tokenizer: `tokenizer.json`, or what its kind of model has instead."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    file = folder / "tokenizer.json"
    try:
        if not file.is_file():
            return AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        fast = PreTrainedTokenizerFast(tokenizer_file=str(file))
        padding = model.config.pad_token_id
        fast.pad_token = fast.convert_ids_to_tokens(0 if padding is None else padding)
        return fast
    except ImportError as error:
        raise MissingDependencyError(
            f"the translator's tokenizer needs a package: {reason(error)}",
            where=str(folder),
            remedy="Install it, most often: pip install sentencepiece.",
        ) from error
    except Exception as error:  # whatever a tokenizer may raise
        raise ModelError(
            f"the tokenizer cannot be read: {reason(error)}", where=str(folder), remedy=REMEDY
        ) from error


class BackTranslator:
    """Translate there and back, each text once.

    Args:
        there: the model into another language.
        back: the one out of it.
        device: of both.
    """

    def __init__(self, there: str, back: str, device: str = "auto") -> None:
        self._there = Translator(there, device)
        self._back = Translator(back, device)

    def paraphrases(self, texts: Sequence[str]) -> dict[str, str]:
        """Return a paraphrase of each text for which there is one that keeps the facts."""
        distinct = list(dict.fromkeys(texts))
        translated = self._back.translate(self._there.translate(distinct))
        return {
            text: new
            for text, new in zip(distinct, translated, strict=True)
            if new != text and keeps_facts(text, new)
        }
