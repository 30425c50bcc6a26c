"""Encoder checkpoints of every kind as sentence-transformers models: one way to load them.

Known are models of sentence-transformers, bare encoders (they take the mean of their tokens), the
two encoders of DPR (Karpukhin et al., 2020, https://arxiv.org/abs/2004.04906), and the question
encoder of DPR inside a RAG checkpoint (Lewis et al., 2020, https://arxiv.org/abs/2005.11401). The
vector of DPR is that of its first token.

Importing this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.checkpoints import (
    check_weights,
    load_config,
    load_part,
    prepare_tokenizer,
    read_config,
    reason,
    tensors_of,
)
from qa_system.models.locate import ModelLocation
from qa_system.models.positions import positions_of
from qa_system.records import Similarity

__all__ = ["DPR_TRAINED_LENGTH", "Role", "SentenceModel", "check_role", "load_sentence_model"]

Role = Literal["both", "question", "passage"]
"""What an encoder encodes: DPR has one model for questions and another one for passages."""

DPR_TRAINED_LENGTH = 256
"""Tokens of the texts that DPR was trained on; its positions reach 512."""

UNSAID_LENGTH = 512
"""Tokens read of a text where neither the model nor its tokenizer says how many."""

IMMENSE_LENGTH = 1 << 20
"""By such a number a tokenizer of transformers says that it knows no limit."""

RAG_TOKENIZER = "question_encoder_tokenizer"
"""Where a RAG checkpoint has the tokenizer of its question encoder."""

REMEDY = (
    "Name a sentence-transformers model, a DPR encoder or another encoder, with a tokenizer and "
    "its weights in safetensors."
)
PURPOSE = "embeddings"
SIMILARITIES: dict[str, Similarity] = {
    "cosine": "cosine",
    "dot": "dot_product",
    "euclidean": "l2",
}


@dataclass(frozen=True)
class SentenceModel:
    """An encoder checkpoint, ready to infer.

    Args:
        model: a SentenceTransformer; it pools, and normalises if it was trained so.
        role: what it encodes.
        similarity: the one that it was trained with.
        prefixes: what is put before a question and before a passage.
        positions: tokens that it can read of a text, special tokens included; None: any number.
        max_seq_length: tokens that it reads unless told otherwise.
        tokenizer: the folder of its tokenizer's files.
    """

    model: Any
    role: Role
    similarity: Similarity
    prefixes: tuple[str, str]
    positions: int | None
    max_seq_length: int
    tokenizer: Path


def load_sentence_model(
    location: ModelLocation,
    *,
    device: Any = "cpu",
    model_options: Mapping[str, Any] | None = None,
    config_options: Mapping[str, Any] | None = None,
) -> SentenceModel:
    """Load an encoder checkpoint, ready to infer.

    Args:
        location: the folder, with weights in safetensors.
        device: a torch device.
        model_options: of transformers' `from_pretrained`, such as `dtype`.
        config_options: values that take the place of the checkpoint's config.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ModelError: it is no encoder, is damaged, or has no fast tokenizer.
    """
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"the checkpoint {location.name!r} needs sentence-transformers",
            remedy="Install it: pip install 'qa-system[torch]', or use a `bundled:` model.",
        ) from error
    config = read_config(location)
    load: Callable[..., Any] = _load_own
    role: Role = "both"
    if config.get("model_type") == "dpr":
        load, role = _load_dpr, _dpr_role(location, config)
    elif config.get("model_type") == "rag":
        load, role = _load_dpr, "question"
    model = load(location, str(device), dict(model_options or {}), dict(config_options or {}))
    if getattr(model.tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"{location.name!r} has no fast tokenizer",
            where=str(location.path),
            remedy="Name a transformer model that has a tokenizer.json.",
        )
    prepare_tokenizer(model.tokenizer, model[0].auto_model, where=str(location.path))
    similarity = model.similarity_fn_name or "cosine"
    if similarity not in SIMILARITIES:
        raise ModelError(
            f"{location.name!r} compares by {similarity}",
            where=str(location.path),
            remedy=f"Supported: {', '.join(SIMILARITIES)}.",
        )
    positions = positions_of(model[0].auto_model)
    return SentenceModel(
        model=model.eval(),
        role=role,
        similarity=SIMILARITIES[similarity],
        prefixes=_prefixes(model.prompts),
        positions=positions,
        max_seq_length=_length(model.max_seq_length, positions),
        tokenizer=location.path / (RAG_TOKENIZER if config.get("model_type") == "rag" else ""),
    )


def _length(said: int | None, positions: int | None) -> int:
    """Return how many tokens a model reads: as many as it says, and has positions for."""
    length = UNSAID_LENGTH if said is None or said >= IMMENSE_LENGTH else int(said)
    return length if positions is None else min(length, positions)


def check_role(location: ModelLocation, role: Role, wanted: Role) -> None:
    """Refuse DPR's encoder of one side for the other side.

    Args:
        location: of the model.
        role: what it encodes.
        wanted: what it is to encode.

    Raises:
        ModelError: it was not trained for that.
    """
    if role not in ("both", wanted):
        partner = {"question": "DPRQuestionEncoder", "passage": "DPRContextEncoder"}[wanted]
        raise ModelError(
            f"{location.name!r} encodes {role}s only, and a {wanted} needs {partner}",
            where=str(location.path),
            remedy="Set encoder.model to the context encoder and encoder.question_model to "
            "the question encoder.",
        )


def _load_own(location: ModelLocation, device: str, model_options: Any, config_options: Any) -> Any:
    """Load what sentence-transformers knows by itself."""
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            str(location.path),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, **model_options},
            config_kwargs=config_options,
        )
    except Exception as error:  # transformers, safetensors and tokenizers share no base
        raise ModelError(
            f"the checkpoint cannot be loaded for {PURPOSE}: {reason(error)}",
            where=str(location.path),
            remedy=REMEDY,
        ) from error
    network = model[0].auto_model
    # Sentence embeddings are made of tokens, and nothing is read from a pooler.
    check_weights(network, where=str(location.path), remedy=REMEDY, unused="pooler.")
    return model


def _dpr_role(location: ModelLocation, config: Mapping[str, Any]) -> Role:
    roles: dict[str, Role] = {"DPRQuestionEncoder": "question", "DPRContextEncoder": "passage"}
    architectures = config.get("architectures") or []
    for architecture in architectures:
        if architecture in roles:
            return roles[architecture]
    raise ModelError(
        f"{location.name!r} is no encoder: its config.json says {architectures}",
        where=str(location.path),
        remedy="Name a DPRContextEncoder for passages, or a DPRQuestionEncoder for questions.",
    )


def _load_dpr(location: ModelLocation, device: str, model_options: Any, config_options: Any) -> Any:
    """Load a DPR encoder, or that inside a RAG checkpoint: a BERT and its first token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling
    from transformers import BertConfig

    where, tokenizer = str(location.path), location.path
    config = load_config(location, purpose=PURPOSE, remedy=REMEDY)
    if config.model_type == "rag":
        config, tokenizer = config.question_encoder, location.path / RAG_TOKENIZER
    if config.model_type != "dpr":
        raise ModelError(
            f"the question encoder is a {config.model_type}, and only DPR's are known",
            where=where,
            remedy=REMEDY,
        )
    own = {
        name: value
        for name, value in config.to_dict().items()
        if name not in ("model_type", "architectures", "projection_dim")
    }
    bert = load_part(
        location,
        "BertModel",
        BertConfig(**{**own, **config_options}),
        "bert_model",
        purpose=PURPOSE,
        remedy=REMEDY,
        unused="pooler.",  # which sentence-transformers has, and DPR has not
        **model_options,
    )
    modules = [_module_around(bert, tokenizer), Pooling(config.hidden_size, "cls")]
    if config.projection_dim:
        projection = Dense(config.hidden_size, config.projection_dim, activation_function=None)
        try:
            projection.linear.load_state_dict(tensors_of(location, "encode_proj"))
        except RuntimeError as error:
            raise ModelError(
                f"the checkpoint has no weights for its projection: {reason(error)}",
                where=where,
                remedy=REMEDY,
            ) from error
        modules.append(projection.to(bert.dtype))
    model = SentenceTransformer(modules=modules, device=device, similarity_fn_name="dot")
    model.max_seq_length = DPR_TRAINED_LENGTH
    return model


def _module_around(bert: Any, tokenizer: Path) -> Any:
    """Return the sentence-transformers module of a BERT that is loaded already.

    Such a module loads its model itself, from a folder. It loads a miniature, and is given the
    model in its place.
    """
    from sentence_transformers.sentence_transformer.modules import Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    try:
        fast = AutoTokenizer.from_pretrained(
            tokenizer, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers and tokenizers share no base
        raise ModelError(
            f"the tokenizer cannot be read: {reason(error)}",
            where=str(tokenizer),
            remedy="The model needs a fast tokenizer (tokenizer.json); save it again with one.",
        ) from error
    sizes = {"hidden_size": 1, "num_attention_heads": 1, "intermediate_size": 1}
    miniature = BertModel(
        BertConfig(
            **sizes,
            vocab_size=1,
            pad_token_id=0,
            num_hidden_layers=0,
            max_position_embeddings=bert.config.max_position_embeddings,
        )
    )
    with TemporaryDirectory(prefix="qa-encoder-") as folder:
        miniature.save_pretrained(folder)
        fast.save_pretrained(folder)
        module = Transformer(folder)
    module.model = bert
    return module


def _prefixes(prompts: Mapping[str, str | None]) -> tuple[str, str]:
    """Return what is put before a question and before a passage."""
    passage = next((prompts[name] for name in ("document", "passage") if prompts.get(name)), None)
    return prompts.get("query") or "", passage or ""
