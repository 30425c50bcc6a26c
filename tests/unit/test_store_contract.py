"""What either store says of itself, and refuses in the same words."""

import inspect
import shlex
from dataclasses import replace

import pytest

from qa_system.config import StoreSettings
from qa_system.errors import EncoderMismatchError
from qa_system.records import EncoderIdentity
from qa_system.stores import ElasticsearchReviewStore, FAISSDocumentStore
from qa_system.stores.checks import check_encoder
from qa_system.stores.contract import ReviewStore
from qa_system.stores.searchable import SearchableStore

STORES = [FAISSDocumentStore, ElasticsearchReviewStore]


def public(cls):
    return [name for name in dir(cls) if not name.startswith("_")]


@pytest.mark.parametrize("store", STORES)
def test_every_method_is_documented(store):
    bare = [name for name in public(store) if not inspect.getdoc(getattr(store, name))]
    assert bare == []


@pytest.mark.parametrize("store", STORES)
def test_no_method_of_the_contract_is_left_out(store):
    # A method of a protocol that nobody overrides returns None, and says nothing.
    contract = set(public(ReviewStore))
    assert {"write_documents", "search_bm25", "replace", "encoder"} <= contract
    ours = [each for each in store.__mro__ if not getattr(each, "_is_protocol", False)]
    assert contract - {name for each in ours for name in vars(each)} == set()


@pytest.mark.parametrize("store", STORES)
def test_every_method_of_a_document_store_has_an_asynchronous_variant(store):
    synchronous = set(public(SearchableStore)) - {"to_dict", "from_dict"}
    asynchronous = {name for name in public(store) if name.endswith("_async")}
    assert asynchronous == {f"{name}_async" for name in synchronous}
    assert all(inspect.iscoroutinefunction(getattr(store, name)) for name in asynchronous)


@pytest.mark.parametrize(
    "place",
    ["qa-store", "my stores/it's $HOME", "http://one:9200,http://two:9200/reviews"],
)
def test_the_command_that_re_embeds_names_store_and_encoder(place):
    bound = EncoderIdentity("first", 2, "cosine", "0" * 64)
    other = EncoderIdentity("my models/other", 3, "cosine", "1" * 64)
    with pytest.raises(EncoderMismatchError) as caught:
        check_encoder(other, bound, 2, where="here", store=place)
    command = shlex.split(caught.value.remedy.partition("store: ")[2])
    assert command == ["qa-index", "reembed", "--store", place, "--encoder-model", other.name]
    assert StoreSettings().named(command[3]).place == place


PAIR = EncoderIdentity("ctx", 2, "cosine", "0" * 64, "q", "1" * 64)


@pytest.mark.parametrize(
    ("encoder", "bound", "what", "use", "command"),
    [
        (
            replace(PAIR, weights_hash="2" * 64, max_seq_length=64),
            PAIR,
            "the store's embeddings were made with encoder.max_seq_length unset, not 64",
            "(--encoder-model ctx --encoder-question-model q)",
            (
                "qa-index reembed --store here --encoder-model ctx --encoder-question-model q "
                "--encoder-max-seq-length 64"
            ),
        ),
        (
            PAIR,
            replace(PAIR, weights_hash="2" * 64, embed_title=True),
            "the store's embeddings were made with encoder.embed_title true, not false",
            "(--encoder-model ctx --encoder-question-model q --encoder-embed-title)",
            "qa-index reembed --store here --encoder-model ctx --encoder-question-model q",
        ),
        (
            replace(PAIR, weights_hash="2" * 64, embed_title=True),
            PAIR,
            "the store's embeddings were made with encoder.embed_title false, not true",
            "(--encoder-model ctx --encoder-question-model q)",
            (
                "qa-index run --store here-with-titles --encoder-model ctx "
                "--encoder-question-model q --encoder-embed-title --source REVIEWS"
            ),
        ),
        (
            replace(PAIR, question_name="other", question_hash="3" * 64),
            PAIR,
            "the store takes questions by 'q', not by 'other'",
            "(--encoder-model ctx --encoder-question-model q)",
            "qa-index reembed --store here --encoder-model ctx --encoder-question-model other",
        ),
        (
            replace(PAIR, weights_hash="2" * 64),
            PAIR,
            "the store's embeddings were made by 'ctx' (2 numbers, weights 000000000000) with",
            "(--encoder-model ctx --encoder-question-model q)",
            "qa-index reembed --store here --encoder-model ctx --encoder-question-model q",
        ),
    ],
)
def test_just_what_differs_is_named(encoder, bound, what, use, command):
    with pytest.raises(EncoderMismatchError) as caught:
        check_encoder(encoder, bound, 2, where="the store", store="here")
    assert caught.value.what.startswith(what)
    assert use in caught.value.remedy
    assert caught.value.remedy.endswith(f": {command}")


def test_an_encoder_that_belongs_into_the_store_is_taken():
    bound = EncoderIdentity("first", 2, "cosine", "0" * 64)
    check_encoder(bound, bound, 2, where="here", store="qa-store")
    check_encoder(bound, None, 2, where="here", store="qa-store")
    check_encoder(bound, None, None, where="here", store="qa-store")
    with pytest.raises(EncoderMismatchError, match="with 3 numbers each"):
        check_encoder(bound, None, 3, where="here", store="qa-store")
