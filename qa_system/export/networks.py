"""Checkpoint -> the network that is exported, and what a manifest says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_system.judging.backends import MAX_SEQ_LENGTH
from qa_system.judging.backends import load_checkpoint as load_judging
from qa_system.judging.judgements import LOGITS
from qa_system.models.checkpoints import has_token_types, pad_id_of
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import ModelLocation
from qa_system.models.manifest import POSITIONS
from qa_system.models.positions import positions_of
from qa_system.readers.backends import load_checkpoint
from qa_system.readers.windows import WindowCutter
from qa_system.retrievers.sentence_models import SentenceModel, load_sentence_model

__all__ = ["EMBEDDING", "JUDGEMENT", "Network", "load_encoder", "load_judge", "load_reader"]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
EMBEDDING = "sentence_embedding"
JUDGEMENT = "judgement"


@dataclass(frozen=True)
class Network:
    """A network that is exported.

    Args:
        location: of its checkpoint.
        module: the torch module; it takes the inputs by name.
        inputs: their names.
        outputs: their names, in order.
        tokenizer: the folder of its tokenizer's files.
        vocabulary: how many tokens it knows.
        positions: tokens that it can read; None: any number.
        facts: what the manifest says of the model.
    """

    location: ModelLocation
    module: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tokenizer: Path
    vocabulary: int
    positions: int | None
    facts: dict[str, Any]


def load_reader(location: ModelLocation) -> Network:
    """Load a reader: its outputs are start and end logits.

    Raises:
        ModelError: the checkpoint is no reader, or cannot be loaded.
    """
    import torch

    checkpoint = load_checkpoint(location, dtype=torch.float32, attn_implementation="eager")

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.checkpoint = checkpoint

        def forward(
            self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None
        ) -> tuple[Any, Any]:
            feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                feeds["token_type_ids"] = token_type_ids
            output = self.checkpoint(**feeds)
            return output.start_logits, output.end_logits

    config, positions = checkpoint.config, positions_of(checkpoint)
    # No window could be cut for a reader without a token that stands for "no answer".
    WindowCutter(load_tokenizer(location.path, config), where=str(location.path))
    return Network(
        location,
        Reader().eval(),
        _inputs_of(config),
        ("start_logits", "end_logits"),
        tokenizer=location.path,
        vocabulary=config.vocab_size,
        positions=positions,
        facts={
            "architecture": type(checkpoint).__name__,
            "max_seq_length": positions,
            "pad_id": pad_id_of(config),
        },
    )


def load_encoder(location: ModelLocation) -> Network:
    """Load an encoder: its output is the sentence embedding, pooled and normalised.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ModelError: the checkpoint cannot be loaded for sentence embeddings.
    """
    import torch

    loaded = load_sentence_model(
        location, model_options={"dtype": torch.float32, "attn_implementation": "eager"}
    )
    checkpoint = loaded.model

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList(list(checkpoint))

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                features["token_type_ids"] = token_type_ids
            for stage in self.stages:
                features = stage(features)
            return features[EMBEDDING]

    config = checkpoint[0].auto_model.config
    return Network(
        location,
        Encoder().eval(),
        _inputs_of(config),
        (EMBEDDING,),
        tokenizer=loaded.tokenizer,
        vocabulary=config.vocab_size,
        positions=loaded.positions,
        facts=_encoder_facts(loaded),
    )


def load_judge(location: ModelLocation) -> Network:
    """Load a judge: its output is a row of logits.

    Raises:
        ModelError: the checkpoint is no judge, or cannot be loaded.
    """
    import torch

    checkpoint = load_judging(location, dtype=torch.float32, attn_implementation="eager")

    class Judge(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.checkpoint = checkpoint

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                feeds["token_type_ids"] = token_type_ids
            return self.checkpoint(**feeds).logits

    config, positions = checkpoint.config, positions_of(checkpoint)
    return Network(
        location,
        Judge().eval(),
        _inputs_of(config),
        (JUDGEMENT,),
        tokenizer=location.path,
        vocabulary=config.vocab_size,
        positions=positions,
        facts={
            "architecture": type(checkpoint).__name__,
            "max_seq_length": min(MAX_SEQ_LENGTH, positions or MAX_SEQ_LENGTH),
            "pad_id": pad_id_of(config),
            "outputs": list(LOGITS),
        },
    )


def _encoder_facts(loaded: SentenceModel) -> dict[str, Any]:
    checkpoint = loaded.model
    encoder = checkpoint[0].auto_model
    stages = {type(stage).__name__: stage for stage in checkpoint}
    normalised = "Normalize" in stages
    is_dot = normalised and loaded.similarity == "cosine"
    question_prefix, passage_prefix = loaded.prefixes
    facts = {
        "architecture": type(encoder).__name__,
        "dimension": checkpoint.get_embedding_dimension(),
        # Of unit vectors the cosine is the dot product, which every index computes fastest.
        "similarity": "dot_product" if is_dot else loaded.similarity,
        "normalize": normalised,
        "pooling": str(getattr(stages.get("Pooling"), "pooling_mode", "none")),
        "max_seq_length": loaded.max_seq_length,
        "pad_id": pad_id_of(encoder.config),
        "question_prefix": question_prefix,
        "passage_prefix": passage_prefix,
    }
    # What manifests of version 0.1.0 do not say has the value that it had then.
    if loaded.role != "both":
        facts["role"] = loaded.role
    if loaded.positions != POSITIONS:
        facts["positions"] = loaded.positions
    return facts


def _inputs_of(config: Any) -> tuple[str, ...]:
    return INPUTS if has_token_types(config) else INPUTS[:2]
