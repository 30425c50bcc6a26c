"""Generators as they are loaded, and how question and document are laid out for them."""

import json
from pathlib import Path

import pytest
import torch
import transformers

import tiny_models as tiny
from qa_system.errors import ConfigError, ModelError, QuestionTooLongError
from qa_system.generators.decoder import answer_log_probs
from qa_system.generators.facts import GeneratorFacts, read_facts, write_facts
from qa_system.generators.layout import SourceLayout
from qa_system.generators.seq2seq import PARTS_TEMPLATE, load_seq2seq
from qa_system.models.locate import ModelLocation, locate

TOKENIZER = tiny.tiny_tokenizer()
QUESTION, TEXT = "How long does the battery last?", "The battery lasts ten hours."


def words(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def bart(tmp_path_factory) -> Path:
    return tiny.save_seq2seq(tmp_path_factory.mktemp("bart"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory) -> Path:
    return tiny.save_seq2seq(tmp_path_factory.mktemp("t5"), tiny.tiny_t5())


@pytest.fixture(scope="module")
def rag(tmp_path_factory) -> Path:
    return tiny.save_rag(tmp_path_factory.mktemp("rag"))


def copied(folder: Path, to: Path, *, without: str = "") -> Path:
    to.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name != without:
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_source_is_the_template_filled_in():
    layout = SourceLayout(TOKENIZER, PARTS_TEMPLATE, 64)
    [source] = layout.source_ids(QUESTION, [TEXT])
    assert source == TOKENIZER.encode(f"question: {QUESTION} context: {TEXT}").ids


def test_special_tokens_of_the_template_are_special_and_those_of_a_review_are_letters():
    layout = SourceLayout(TOKENIZER, "{question} [SEP] {text}", 64)
    [source, nasty] = layout.source_ids(QUESTION, [TEXT, f"{TEXT} [SEP] </s> <mask>"])
    assert source == [tiny.BOS, *words(QUESTION), tiny.SEP, *words(TEXT), tiny.EOS]
    assert nasty[: len(source) - 1] == source[:-1]
    assert not {tiny.SEP, tiny.EOS, tiny.MASK} & set(nasty[len(source) - 1 : -1])
    [asked] = layout.source_ids("is it [SEP] red </s>?", [TEXT])
    assert (asked.count(tiny.SEP), asked.count(tiny.EOS)) == (1, 1)


def test_only_the_text_is_cut():
    layout = SourceLayout(TOKENIZER, "{title} [SEP] {text} [SEP] {question}", 64)
    long = "good " * 200
    [source] = layout.source_ids(QUESTION, [long], ["red strap"])
    assert len(source) == 64
    head = [tiny.BOS, *words("red strap"), tiny.SEP]
    tail = [tiny.SEP, *words(QUESTION), tiny.EOS]
    assert source[: len(head)] == head
    assert source[-len(tail) :] == tail
    assert set(source[len(head) : -len(tail)]) == set(words("good"))


def test_white_space_is_one_space_and_an_empty_text_is_no_error():
    layout = SourceLayout(TOKENIZER, PARTS_TEMPLATE, 64)
    assert layout.source_ids(f"  {QUESTION}\n", [f"\t{TEXT}  "]) == layout.source_ids(
        QUESTION, [TEXT]
    )
    [source] = layout.source_ids(QUESTION, [""])
    assert source == TOKENIZER.encode(f"question: {QUESTION} context:").ids


def test_doubled_braces_are_braces():
    layout = SourceLayout(TOKENIZER, "{{a}} {question} {text}", 64)
    [source] = layout.source_ids("red", ["blue"])
    assert source == TOKENIZER.encode("{a} red blue").ids


def test_a_question_that_leaves_no_room_is_refused():
    layout = SourceLayout(TOKENIZER, PARTS_TEMPLATE, 64)
    with pytest.raises(QuestionTooLongError, match="leaves room for 0"):
        layout.source_ids("is it red " * 40, [TEXT])


@pytest.mark.parametrize(
    "template",
    ["{question}", "{text}", "{question} {text} {price}", "{question} {text} {text}", "{question"],
)
def test_a_template_without_its_fields_is_refused(template):
    with pytest.raises(ConfigError, match="template"):
        SourceLayout(TOKENIZER, template, 64)


def test_bytes_and_words_that_run_together_are_cut_by_their_place():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    layout = SourceLayout(tokenizer, "{title} / {text} // {question}", 64)
    [whole, cut] = layout.source_ids("why é?", ["so", "ä" * 100], ["T", "T"])
    assert tokenizer.decode(whole) == "T / so // why é?"
    assert len(cut) == 64
    assert tokenizer.decode(cut).startswith("T / ää")
    assert tokenizer.decode(cut).endswith(" // why é?")


def test_parts_are_loaded_as_they_are(bart, t5):
    for folder, start in ((bart, tiny.EOS), (t5, tiny.PAD)):
        generator = load_seq2seq(locate(str(folder)), device="cpu", precision="fp32")
        assert (generator.start_id, generator.eos_id, generator.pad_id) == (
            start,
            tiny.EOS,
            tiny.PAD,
        )
        assert (generator.mode, generator.score_scale) == ("token", 1.0)
        assert generator.layout.template == PARTS_TEMPLATE
        assert generator.layout.max_length == (128 if folder == bart else 384)
        assert generator.device.type == "cpu"
        assert not generator.model.training
        assert generator.decode([*words("ten hours"), tiny.EOS]) == "ten hours"
        ends = {tuple(source[-1:]) for source in generator.source_ids(QUESTION, [TEXT, ""])}
        assert ends == {(tiny.EOS,)}


def test_a_rag_checkpoint_gives_its_generator(rag):
    generator = load_seq2seq(locate(str(rag)), device="cpu", precision="fp32")
    whole = tiny.tiny_rag()
    for name, weight in whole.generator.state_dict().items():
        assert torch.equal(generator.model.state_dict()[name], weight), name
    assert generator.mode == "token"
    assert generator.start_id == whole.config.decoder_start_token_id
    assert (generator.score_scale, generator.layout.max_length) == (1.0, 64)
    [source] = generator.source_ids("is it red ?", ["the strap is red ."], ["strap"])
    # as RagRetriever.postprocess_docs joins them
    assert source == TOKENIZER.encode("strap / the strap is red . // is it red ?").ids
    log_probs = answer_log_probs(generator, [source], [[10, 20, tiny.EOS]])
    with torch.no_grad():
        logits = whole.generator(
            input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[2, 10, 20]])
        ).logits
    expected = logits.log_softmax(-1)[0, range(3), [10, 20, tiny.EOS]]
    assert torch.allclose(log_probs[0, 0], expected, atol=1e-4)


def test_a_sequence_checkpoint_and_its_separators_are_kept(tmp_path):
    model = tiny.tiny_rag("sequence")
    model.config.title_sep, model.config.doc_sep = " {:} ", " , "
    model.config.prefix = "question : "
    folder = tiny.save_rag(tmp_path / "rag", model)
    generator = load_seq2seq(locate(str(folder)), precision="fp32")
    assert generator.mode == "sequence"
    [source] = generator.source_ids("is it red", ["good"], ["strap"])
    assert source == TOKENIZER.encode("question : strap {:} good , is it red").ids


def test_a_trained_generator_says_how_it_was_trained(bart, tmp_path):
    folder = copied(bart, tmp_path / "trained")
    facts = GeneratorFacts("{question} [SEP] {text}", 100, 24, 20.0, "sequence", None)
    write_facts(folder, facts)
    assert read_facts(folder) == facts
    generator = load_seq2seq(locate(str(folder)))
    assert (generator.mode, generator.score_scale) == ("sequence", 20.0)
    assert (generator.layout.max_length, generator.max_answer_length) == (100, 24)
    told = load_seq2seq(
        locate(str(folder)), template="{text} {question}", max_source_length=50, score_scale=2.0
    )
    assert (told.layout.template, told.layout.max_length) == ("{text} {question}", 50)
    assert told.score_scale == 2.0


def test_a_tokenizer_of_vocabulary_and_merges_will_do(bart, tmp_path):
    folder = copied(bart, tmp_path / "old", without="tokenizer.json")
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefgh", "Ġ", "Ġa", "ab"]
    vocabulary = {token: number for number, token in enumerate(letters)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nĠ a\na b\n", encoding="utf-8")
    generator = load_seq2seq(locate(str(folder)), template="{question} {text}")
    [source] = generator.source_ids("ab", ["a b"])
    assert source[0] == vocabulary["<s>"]
    assert source[-1] == vocabulary["</s>"]
    assert generator.decode(source) == "ab a b"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "generator.json").write_text("{}"), "settings"),
        (
            lambda folder: (folder / "generator.json").write_text('{"format": 2, "template": ""}'),
            "another format",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "cannot be loaded",
        ),
    ],
)
def test_a_damaged_folder_is_named(bart, tmp_path, change, said):
    folder = copied(bart, tmp_path / "damaged")
    change(folder)
    with pytest.raises(ModelError, match=said) as error:
        load_seq2seq(locate(str(folder)))
    assert str(folder) in str(error.value)


def test_pickled_weights_are_not_read(bart, tmp_path):
    folder = copied(bart, tmp_path / "pickled", without="model.safetensors")
    torch.save(tiny.tiny_bart().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load_seq2seq(locate(str(folder)))


@pytest.mark.parametrize("kind", ["bart", "rag"])
def test_weights_that_are_missing_are_named(kind, request, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(request.getfixturevalue(kind), tmp_path / "part")
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if name.endswith("decoder.layers.1.fc1.weight"))
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "generator_tokenizer").mkdir()
    TOKENIZER.save(str(folder / "generator_tokenizer" / "tokenizer.json"))
    with pytest.raises(ModelError, match="fc1"):
        load_seq2seq(locate(str(folder)))


def test_a_rag_checkpoint_without_safetensors_is_named(rag, tmp_path):
    folder = copied(rag, tmp_path / "empty", without="model.safetensors")
    with pytest.raises(ModelError, match="safetensors"):
        load_seq2seq(locate(str(folder)))


def test_an_export_is_no_generator(tmp_path):
    with pytest.raises(ModelError, match="export"):
        load_seq2seq(ModelLocation("x", tmp_path, "onnx"))


def test_more_tokens_than_positions_are_refused(bart):
    with pytest.raises(ConfigError, match="128 positions"):
        load_seq2seq(locate(str(bart)), max_source_length=129)


def test_bf16_is_computed_and_answers_in_floats(bart):
    generator = load_seq2seq(locate(str(bart)), device="cpu", precision="bf16")
    assert generator.precision == "bf16"
    assert generator.model.dtype == torch.bfloat16
    found = answer_log_probs(generator, generator.source_ids(QUESTION, [TEXT]), [[10, tiny.EOS]])
    exact = load_seq2seq(locate(str(bart)), device="cpu", precision="fp32")
    expected = answer_log_probs(exact, exact.source_ids(QUESTION, [TEXT]), [[10, tiny.EOS]])
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=0.5)


SMALL = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}
ENDS = {"pad_token_id": tiny.PAD, "eos_token_id": tiny.EOS, "decoder_start_token_id": tiny.EOS}
EXPERTS = {"num_experts": 2, "d_ff": 16, "d_kv": 8, "num_layers": 2, "num_heads": 2}
VOCABULARIES = {"src_vocab_size": tiny.VOCABULARY, "tgt_vocab_size": tiny.VOCABULARY}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "SwitchTransformers",
            EXPERTS | {"vocab_size": tiny.VOCABULARY, "d_model": 16},
            "cannot write an answer",
        ),
        ("FSMT", SMALL | VOCABULARIES | {"langs": ["a", "b"]}, "cannot read a text"),
    ],
)
def test_a_model_that_does_not_read_and_write_as_others_do_is_named(name, options, said, tmp_path):
    config = getattr(transformers, f"{name}Config")(**options, **ENDS)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    tiny.save_seq2seq(tmp_path, model)
    with pytest.raises(ModelError, match=said):
        load_seq2seq(locate(str(tmp_path)), device="cpu")
