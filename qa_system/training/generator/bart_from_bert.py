"""A small BART of a BERT-type encoder, which becomes both its encoder and its decoder.

Such an encoder is a BART encoder by another name: layer norms after the sums, learned positions
(BART's begin at row 2), the same feed-forward. Its token types fold into the positions. A decoder
of its layers starts far better than one of noise (Rothe et al., 2020, "Leveraging Pre-trained
Checkpoints for Sequence Generation Tasks", https://arxiv.org/abs/1907.12461).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.errors import ConfigError, ModelError
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import ModelLocation
from qa_system.training.reader.layers import kept_layers

if TYPE_CHECKING:
    from transformers import BartConfig, BartForConditionalGeneration

__all__ = ["bart_from_bert", "build"]

TEMPLATE = "{question} [SEP] {text}"
"""As a BERT-type reader has them; see `GeneratorTraining.template`."""

SCORE_SCALE = 20.0
"""See `GeneratorTraining.score_scale`."""

POSITION_OFFSET = 2
"""Rows of BART's table of positions that stand before the first one."""


def bart_from_bert(
    location: ModelLocation, decoder_layers: int, *, dropout: float = 0.1
) -> BartForConditionalGeneration:
    """Build a BART whose encoder computes what a BERT-type encoder does, in fp32 on the CPU.

    The decoder has some of the encoder's layers, evenly chosen, and attends to the source with a
    copy of each layer's self-attention. Answers begin with [CLS] and end with [SEP]. The token
    type of a reader's text is lost: all tokens have type 0.

    BART multiplies token embeddings by the root of their width here (`scale_embedding`), and the
    positions are stored multiplied. The layer norm takes the factor out again, and with it the
    epsilon of 1e-5 that BART's have, where BERT's have 1e-12, changes nothing.

    Args:
        location: a checkpoint of model type `bert`, whatever head it has: all-MiniLM, a reader.
        decoder_layers: of the decoder; at most as many as the encoder has.
        dropout: between the layers, in training; attention has none.

    Raises:
        ModelError: the checkpoint is of another type, is damaged, or its tokenizer lacks [CLS],
            [SEP] or [PAD].
        ConfigError: it has fewer layers.
    """
    import torch
    from transformers import BartForConditionalGeneration

    bert, config = _load(location)
    layers = int(config.num_hidden_layers)
    if decoder_layers > layers:
        raise ConfigError(
            f"the decoder is to have {decoder_layers} layers, and the encoder has {layers}",
            where="decoder_layers",
            remedy=f"Set at most {layers}.",
        )
    bart = BartForConditionalGeneration(_bart_config(config, decoder_layers, dropout, location))
    sides = bart.model
    with torch.no_grad():
        sides.shared.weight.copy_(bert.embeddings.word_embeddings.weight)
        for side in (sides.encoder, sides.decoder):
            _copy_embeddings(bert.embeddings, side)
        for ours, theirs in zip(sides.encoder.layers, bert.encoder.layer, strict=True):
            _copy_layer(theirs, ours)
        chosen = kept_layers(layers, decoder_layers)
        for ours, place in zip(sides.decoder.layers, chosen, strict=True):
            theirs = bert.encoder.layer[place]
            _copy_layer(theirs, ours)
            _copy_attention(theirs.attention, ours.encoder_attn, ours.encoder_attn_layer_norm)
    return bart.eval()


def build(location: ModelLocation, decoder_layers: int, folder: Path) -> ModelLocation:
    """Build a BART of an encoder and write it to a folder, for `load_seq2seq`.

    Args:
        location: see `bart_from_bert`.
        decoder_layers: likewise.
        folder: it is made.

    Returns:
        The model's location, with the encoder's name.

    Raises:
        ModelError: see `bart_from_bert`.
        ConfigError: likewise.
    """
    from qa_system.generators.facts import GeneratorFacts, write_facts

    bart_from_bert(location, decoder_layers).save_pretrained(folder)
    load_tokenizer(location.path).save(str(folder / "tokenizer.json"), pretty=False)
    write_facts(folder, GeneratorFacts(TEMPLATE, score_scale=SCORE_SCALE))
    return replace(location, path=folder)


def _bart_config(
    bert: Any, decoder_layers: int, dropout: float, location: ModelLocation
) -> BartConfig:
    from transformers import BartConfig

    start_id, eos_id, pad_id = _special_ids(location)
    return BartConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        d_model=bert.hidden_size,
        encoder_layers=bert.num_hidden_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=bert.num_attention_heads,
        decoder_attention_heads=bert.num_attention_heads,
        encoder_ffn_dim=bert.intermediate_size,
        decoder_ffn_dim=bert.intermediate_size,
        activation_function=bert.hidden_act,
        dropout=dropout,
        scale_embedding=True,
        pad_token_id=pad_id,
        bos_token_id=start_id,
        eos_token_id=eos_id,
        decoder_start_token_id=start_id,
        forced_eos_token_id=None,
    )


def _load(location: ModelLocation) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, BertModel

    remedy = "Name a checkpoint of model type bert, in safetensors, or leave out decoder_layers."
    try:
        config = AutoConfig.from_pretrained(location.path, trust_remote_code=False)
        if config.model_type != "bert":
            raise ModelError(
                f"a generator can be built of a bert, and this is a {config.model_type}",
                where=str(location.path),
                remedy=remedy,
            )
        bert, report = BertModel.from_pretrained(
            location.path,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            add_pooling_layer=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"no generator can be built of this model: {error}",
            where=str(location.path),
            remedy=remedy,
        ) from error
    if report["missing_keys"]:
        raise ModelError(
            f"the checkpoint has no weights for {', '.join(sorted(report['missing_keys'])[:3])}",
            where=str(location.path),
            remedy=remedy,
        )
    return bert, config


def _special_ids(location: ModelLocation) -> tuple[int, int, int]:
    tokenizer = load_tokenizer(location.path)
    found = []
    for token in ("[CLS]", "[SEP]", "[PAD]"):
        token_id = tokenizer.token_to_id(token)
        if token_id is None:
            raise ModelError(
                f"the tokenizer has no {token}",
                where=str(location.path),
                remedy="Name a BERT-type encoder with its own tokenizer.",
            )
        found.append(token_id)
    start_id, eos_id, pad_id = found
    return start_id, eos_id, pad_id


def _copy_embeddings(theirs: Any, ours: Any) -> None:
    positions = theirs.position_embeddings.weight + theirs.token_type_embeddings.weight[0]
    ours.embed_positions.weight[:POSITION_OFFSET] = 0.0
    ours.embed_positions.weight[POSITION_OFFSET:] = positions * ours.embed_tokens.embed_scale
    ours.layernorm_embedding.load_state_dict(theirs.LayerNorm.state_dict())


def _copy_layer(theirs: Any, ours: Any) -> None:
    _copy_attention(theirs.attention, ours.self_attn, ours.self_attn_layer_norm)
    ours.fc1.load_state_dict(theirs.intermediate.dense.state_dict())
    ours.fc2.load_state_dict(theirs.output.dense.state_dict())
    ours.final_layer_norm.load_state_dict(theirs.output.LayerNorm.state_dict())


def _copy_attention(theirs: Any, ours: Any, norm: Any) -> None:
    for mine, yours in (
        (ours.q_proj, theirs.self.query),
        (ours.k_proj, theirs.self.key),
        (ours.v_proj, theirs.self.value),
        (ours.out_proj, theirs.output.dense),
        (norm, theirs.output.LayerNorm),
    ):
        mine.load_state_dict(yours.state_dict())
