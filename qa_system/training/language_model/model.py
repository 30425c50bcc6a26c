"""An encoder in training, with a head that predicts hidden tokens."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from qa_system.errors import ModelError
from qa_system.models.checkpoints import (
    has_token_types,
    load_config,
    load_model,
    pad_id_of,
    saved_names,
    tensors_of,
)
from qa_system.models.inference import load_tokenizer, pad
from qa_system.models.locate import ModelLocation
from qa_system.models.positions import check_length, positions_of
from qa_system.models.tokenizing import check_vocabulary
from qa_system.training.language_model.masking import IGNORED, Masked
from qa_system.training.language_model.windows import Vocabulary, Window, vocabulary_of
from qa_system.training.reader.model import ATTENTION_DROPOUTS, DROPOUTS
from qa_system.training.record import keep_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["LanguageModel", "start"]

PURPOSE = "predicting hidden tokens"
REMEDY = (
    "Name an encoder that was trained by hiding tokens, such as BERT, RoBERTa, MPNet or MiniLM, "
    "in safetensors."
)
MODULES = "modules.json"
OF_SENTENCE_MODELS = (MODULES, "config_sentence_transformers.json", "sentence_bert_config.json")
"""Files beside the weights of a model of sentence-transformers."""


@dataclass(frozen=True)
class LanguageModel:
    """An encoder with a head, in training.

    Args:
        model: one of transformers' `...ForMaskedLM`.
        location: where it came from.
        inside: the folder of the encoder in the model's, "" unless sentence-transformers says so.
        vocabulary: of its tokenizer.
        head_made: whether the head is new; False: the checkpoint had one.
    """

    model: Any
    location: ModelLocation
    inside: str
    vocabulary: Vocabulary
    head_made: bool

    @property
    def is_tied(self) -> bool:
        """Whether the head's table is that of the input embeddings."""
        return _is_tied(self.model)

    def collate(self, rows: Sequence[Masked]) -> dict[str, torch.Tensor]:
        """Stack windows into a batch."""
        import torch

        arrays = {
            "input_ids": pad([row.ids for row in rows], pad_id_of(self.model.config)),
            "attention_mask": pad([np.ones(len(row), np.int64) for row in rows]),
            "labels": pad([row.targets for row in rows], IGNORED),
        }
        if has_token_types(self.model.config):
            arrays["token_type_ids"] = pad([self.vocabulary.types(len(row)) for row in rows])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def logits(self, model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits of the hidden tokens alone, (hidden, vocabulary).

        The head is as large as several layers, and six tokens of seven are not to be predicted:
        it is computed where it is needed.
        """
        hidden = batch["labels"] != IGNORED

        def select(_module: Any, _inputs: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[hidden][None]
            return output

        hook = model.base_model.register_forward_hook(select)
        try:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            logits: torch.Tensor = model(**inputs).logits[0]
        finally:
            hook.remove()
        return logits

    def loss(self, model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean cross-entropy of the hidden tokens."""
        from torch.nn.functional import cross_entropy

        targets = batch["labels"]
        return cross_entropy(self.logits(model, batch).float(), targets[targets != IGNORED])

    def start_from_frequencies(self, windows: Sequence[Window]) -> None:
        """Make a new head expect each token as often as it is in the windows.

        Otherwise the first steps, in which the gradient of a head that knows nothing goes through
        the encoder, teach it no more than that.
        """
        import torch

        bias = getattr(self.model.get_output_embeddings(), "bias", None)
        if bias is None:
            return
        counts = np.ones(len(bias))
        for window in windows:
            np.add.at(counts, window.ids, 1)
        with torch.no_grad():
            bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))

    def save(self, folder: Path) -> None:
        """Write encoder, head and tokenizer, and what a sentence-transformers model has beside."""
        out = folder / self.inside
        encoder = ModelLocation(self.location.name, self.location.path / self.inside, "torch")
        weights = self.model.state_dict() | self._pooler(encoder)
        self.model.save_pretrained(out, state_dict=weights)
        keep_tokenizer(encoder, out)
        for name in OF_SENTENCE_MODELS:
            for place in {"", self.inside}:
                if (file := self.location.path / place / name).is_file():
                    shutil.copyfile(file, folder / place / name)
        for place in _modules(self.location.path):
            if place not in ("", self.inside) and (self.location.path / place).is_dir():
                shutil.copytree(self.location.path / place, folder / place)

    def _pooler(self, encoder: ModelLocation) -> dict[str, torch.Tensor]:
        """Return the encoder's pooler, which a head has no use for, but other trainings do."""
        prefix = self.model.base_model_prefix
        names = saved_names(self.model)
        is_bare = not any(name.startswith(f"{prefix}.") for name in names)
        own = "pooler" if is_bare else f"{prefix}.pooler"
        if not any(name.startswith(f"{own}.") for name in names):
            return {}
        return {
            f"{prefix}.pooler.{name}": tensor for name, tensor in tensors_of(encoder, own).items()
        }


def start(
    location: ModelLocation, max_seq_length: int, dropout: float, device: torch.device
) -> LanguageModel:
    """Load what training starts from; where the checkpoint has no head, one is made.

    A new head is tied to the input embeddings, whatever the checkpoint's config says.

    Args:
        location: a checkpoint, with weights in safetensors.
        max_seq_length: tokens of a window.
        dropout: between the layers; attention has none.
        device: where it is trained.

    Raises:
        ModelError: it is no encoder that can predict tokens, has no mask token, or has fewer
            positions.
    """
    inside = _inside(location)
    encoder = replace(location, path=location.path / inside)
    config = load_config(encoder, purpose=PURPOSE, remedy=REMEDY)
    if config.is_encoder_decoder:
        raise ModelError(
            f"the model is a {config.model_type}, which has a decoder",
            where=str(encoder.path),
            remedy=REMEDY,
        )
    for names, rate in ((DROPOUTS, dropout), (ATTENTION_DROPOUTS, 0.0)):
        for name in names:
            if getattr(config, name, None) is not None:
                setattr(config, name, rate)
    model = _load(encoder, config, device)
    head_made = not _has_head(model)
    if head_made and not _is_tied(model):
        config.tie_word_embeddings = True
        model = _load(encoder, config, device)
    where = str(encoder.path)
    tokenizer = load_tokenizer(encoder.path, config)
    check_vocabulary(tokenizer, model, where)
    vocabulary = vocabulary_of(tokenizer, encoder.path)
    if vocabulary.mask_id >= (rows := len(model.get_input_embeddings().weight)):
        raise ModelError(
            f"the tokenizer's mask token is number {vocabulary.mask_id}, and the model has "
            f"embeddings of {rows:,}",
            where=where,
            remedy="Save the model again with the tokenizer that it was trained with.",
        )
    check_length("max_seq_length", max_seq_length, positions_of(model), where)
    return LanguageModel(model.to(device), location, inside, vocabulary, head_made)


def _load(encoder: ModelLocation, config: Any, device: torch.device) -> Any:
    import torch

    return load_model(
        encoder,
        "AutoModelForMaskedLM",
        purpose=PURPOSE,
        remedy=REMEDY,
        new_head=True,
        config=config,
        dtype=torch.float32,
        # The fused kernel is slower than the plain one on a CPU, as for a reader.
        **({} if device.type == "cuda" else {"attn_implementation": "eager"}),
    )


def _is_tied(model: Any) -> bool:
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def _has_head(model: Any) -> bool:
    """Tell whether a checkpoint has weights of the head, by their names."""
    prefix = f"{model.base_model_prefix}."
    head = {name for name in model.state_dict() if not name.startswith(prefix)}
    return not head.isdisjoint(saved_names(model))


def _modules(folder: Path) -> dict[str, str]:
    """Return the folders of a sentence-transformers model's modules, with their types."""
    path = folder / MODULES
    if not path.is_file():
        return {}
    try:
        return {each["path"]: each["type"] for each in orjson.loads(path.read_bytes())}
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"the list of modules cannot be read: {error!r}",
            where=str(path),
            remedy="Download or save the model again.",
        ) from error


def _inside(location: ModelLocation) -> str:
    modules = _modules(location.path)
    if not modules:
        return ""
    for place, kind in modules.items():
        if kind.endswith(".Transformer"):
            return place
    raise ModelError(
        f"its modules are {', '.join(modules.values())}, and none is a Transformer",
        where=str(location.path),
        remedy=REMEDY,
    )
