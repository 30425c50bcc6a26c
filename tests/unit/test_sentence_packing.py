"""The sentences of one review as one value of bytes: what comes back, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.stores.documents import DamagedStoreError
from qa_system.stores.sentences.columns import SentenceColumns, columns_of
from qa_system.stores.sentences.packing import pack, unpack

TEXT = "The bass is loud. It is! Red cord, short cord."
SPANS = [(0, 17), (18, 24), (25, 46)]


def made(embeddings=None, spans=SPANS):
    return columns_of(3, TEXT, spans, embeddings)


def assert_equal(found: SentenceColumns, expected: SentenceColumns):
    for name in ("reviews", "spans", "vectors", "scales", "counts", "terms"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.dtype == right.dtype, name
        assert left.shape == right.shape, name
        np.testing.assert_array_equal(left, right)


@given(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_what_was_packed_comes_back(count, dimension, seed, is_embedded):
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((count, dimension)).astype(np.float32)
    columns = made(embeddings if is_embedded else None, SPANS[:count])
    assert_equal(unpack(pack(columns), 3), columns)


def test_the_bytes_are_those_by_hand():
    columns = columns_of(0, "It is!", [(0, 6)], np.array([[0.0, 2.0]], np.float32))
    # Version 1, one sentence of two numbers; from 0 to 6, a step is 1/127, no terms; the numbers.
    head, body = pack(columns)[:13], pack(columns)[13:]
    assert head[:1] == b"\x01"
    assert head[5:] == bytes.fromhex("01000000 02000000")
    scale = np.float32(1 / 127).tobytes()
    assert body == bytes.fromhex("00000000 06000000") + scale + bytes(4) + b"\x00\x7f"


@pytest.mark.parametrize("bits", [1, 128, 255])
def test_a_changed_byte_is_refused(bits):
    packed = pack(made(np.eye(3, 4, dtype=np.float32)))
    for place in range(len(packed)):
        changed = bytearray(packed)
        changed[place] ^= bits
        with pytest.raises(DamagedStoreError):
            unpack(bytes(changed), 3)


@given(st.binary(max_size=64))
def test_bytes_that_nobody_packed_are_refused(found):
    with pytest.raises(DamagedStoreError):
        unpack(found, 3)


def test_a_shorter_and_a_longer_value_are_refused():
    packed = pack(made())
    for found in (packed[:-4], packed + bytes(4), packed[:13], b""):
        with pytest.raises(DamagedStoreError):
            unpack(found, 3)
