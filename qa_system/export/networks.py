"""Checkpoint -> the network that is exported, and what a manifest says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models import ModelLocation
from qa_system.readers.backends import has_token_types, load_checkpoint, usable_positions

__all__ = ["EMBEDDING", "Network", "load_encoder", "load_reader"]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
EMBEDDING = "sentence_embedding"


@dataclass(frozen=True)
class Network:
    """A network that is exported.

    Args:
        location: of its checkpoint.
        module: the torch module; it takes the inputs by name.
        inputs: their names.
        outputs: their names, in order.
        facts: what the manifest says of the model.
    """

    location: ModelLocation
    module: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
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

    config = checkpoint.config
    facts = {
        "architecture": type(checkpoint).__name__,
        "max_seq_length": usable_positions(config),
        "pad_id": _pad_id(config),
    }
    outputs = ("start_logits", "end_logits")
    return Network(location, Reader().eval(), _inputs_of(config), outputs, facts)


def load_encoder(location: ModelLocation) -> Network:
    """Load an encoder: its output is the sentence embedding, pooled and normalised.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ModelError: the checkpoint cannot be loaded for sentence embeddings.
    """
    import torch

    checkpoint = _sentence_transformer(location)

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

    inputs = _inputs_of(checkpoint[0].auto_model.config)
    return Network(location, Encoder().eval(), inputs, (EMBEDDING,), _encoder_facts(checkpoint))


def _sentence_transformer(location: ModelLocation) -> Any:
    import torch

    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingDependencyError(
            "exporting an encoder needs sentence-transformers",
            remedy="Install it: pip install 'qa-system[train]'.",
        ) from error
    try:
        return SentenceTransformer(
            str(location.path),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={
                "dtype": torch.float32,
                "attn_implementation": "eager",
                "use_safetensors": True,
            },
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the checkpoint cannot be loaded for sentence embeddings: {error}",
            where=str(location.path),
            remedy="Name a sentence-transformers model with its weights in safetensors.",
        ) from error


def _encoder_facts(checkpoint: Any) -> dict[str, Any]:
    config = checkpoint[0].auto_model.config
    stages = {type(stage).__name__: stage for stage in checkpoint}
    normalised = "Normalize" in stages
    trained_with = {"dot": "dot_product", "euclidean": "l2"}.get(
        str(checkpoint.similarity_fn_name), "cosine"
    )
    return {
        "architecture": type(checkpoint[0].auto_model).__name__,
        "dimension": checkpoint.get_embedding_dimension(),
        # Of unit vectors the cosine is the dot product, which every index computes fastest.
        "similarity": "dot_product" if normalised and trained_with == "cosine" else trained_with,
        "normalize": normalised,
        "pooling": str(getattr(stages.get("Pooling"), "pooling_mode", "none")),
        "max_seq_length": min(int(checkpoint.max_seq_length), usable_positions(config)),
        "pad_id": _pad_id(config),
        "question_prefix": checkpoint.prompts.get("query") or "",
        "passage_prefix": checkpoint.prompts.get("document") or "",
    }


def _inputs_of(config: Any) -> tuple[str, ...]:
    return INPUTS if has_token_types(config) else INPUTS[:2]


def _pad_id(config: Any) -> int:
    return 0 if config.pad_token_id is None else int(config.pad_token_id)
