"""Our encoders in pipelines of spaCy: the component `qa_embeddings`.

It sets `Doc.tensor`, a vector for each of spaCy's tokens, and `Doc.vector`, that of the whole text,
the same as `qa_system.embeddings.embed` returns. A span's vector is the mean of its tokens'.

>>> import spacy
>>> nlp = spacy.blank("en")
>>> component = nlp.add_pipe("qa_embeddings")
>>> doc = nlp("Bright enough for reading.")
>>> doc.tensor.shape, doc.vector.shape, doc[0:2].vector.shape
((5, 384), (384,), (384,))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.embeddings.embedder import Embedder, TokenEmbeddings, load_embedder
from qa_system.errors import MissingDependencyError, ModelError

try:
    from spacy.language import Language
except ImportError as error:
    raise MissingDependencyError(
        "the component qa_embeddings needs the package 'spacy'",
        remedy="Install it: pip install 'qa-system[spacy]'.",
    ) from error

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span, Token

__all__ = ["QAEmbeddings", "aligned"]

FloatArray = NDArray[np.float32]

FACTORY: Final = "qa_embeddings"
CONFIG: Final = "qa_embeddings.json"
BATCH: Final = 64


class QAEmbeddings:
    """Set the vectors of documents; the model is loaded when the first one comes.

    Args:
        name: of the component in its pipeline.
        model: `bundled:NAME`, a folder, a Hub id or an address.
        layer: whose vectors the tokens have; 0 is the table of embeddings, -1 the last layer.
        tensor: whether tokens get vectors.
        vector: whether documents get one; without it, spaCy takes the mean of the tokens'.
        options: further settings of the model, as in
            `qa_system.embeddings.settings.EmbeddingSettings`: `device`, `threads`, ...
    """

    def __init__(
        self,
        name: str = FACTORY,
        *,
        model: str = "bundled:encoder",
        layer: int = -1,
        tensor: bool = True,
        vector: bool = True,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._config: dict[str, Any] = {
            "model": model,
            "layer": layer,
            "tensor": tensor,
            "vector": vector,
            "options": dict(options or {}),
        }
        self._expected: str | None = None
        self._loaded: dict[str | None, Embedder] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model behind where spaCy starts another process, which loads it itself."""
        return {**self.__dict__, "_loaded": {}}

    def __call__(self, doc: Doc) -> Doc:
        """Set the vectors of one document.

        Raises:
            QASystemError: the model cannot be loaded, or is another than that which was saved.
        """
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = BATCH) -> Iterator[Doc]:
        """Set the vectors of documents, several at a time.

        Args:
            stream: the documents.
            batch_size: documents that are read before the first is passed on.

        Raises:
            QASystemError: as for one document.
        """
        docs = iter(stream)
        while batch := list(islice(docs, batch_size)):
            if self._config["tensor"]:
                for doc, found in zip(batch, self._token_vectors(batch), strict=True):
                    doc.tensor = found
            if self._config["vector"]:
                vectors = self._embedder(None).encode([doc.text for doc in batch])
                for doc, vector in zip(batch, vectors, strict=True):
                    doc.vector = vector
            for doc in batch:
                _hook(doc, has_tensor=self._config["tensor"])
            yield from batch

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:  # noqa: ARG002 (spaCy's signature)
        """Return the configuration and the hash of the model, as JSON."""
        weights = self._expected or self._embedder("none").fingerprint()
        return orjson.dumps({**self._config, "weights": weights})

    def from_bytes(
        self,
        data: bytes,
        *,
        exclude: Iterable[str] = (),  # noqa: ARG002
    ) -> QAEmbeddings:
        """Take a configuration from what `to_bytes` returned.

        Raises:
            ModelError: it is none.
        """
        try:
            said = orjson.loads(data)
            self._expected = str(said.pop("weights"))
            self._config = {key: said[key] for key in self._config}
            self._loaded = {}
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(
                f"the configuration of the component {self.name!r} cannot be read: {error!r}",
                remedy="Save the pipeline again.",
            ) from error
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the configuration and the hash of the model, not the model, to a folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_bytes(self.to_bytes(exclude=exclude))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> QAEmbeddings:
        """Take the configuration from a folder.

        Raises:
            ModelError: it is none.
        """
        return self.from_bytes((Path(path) / CONFIG).read_bytes(), exclude=exclude)

    def _embedder(self, pooling: str | None) -> Embedder:
        """Return the model; all components with the same settings share one."""
        if pooling in self._loaded:
            return self._loaded[pooling]
        embedder = load_embedder(
            model=self._config["model"],
            pooling=pooling,
            layer=-1 if pooling is None else self._config["layer"],
            **self._config["options"],
        )
        if self._expected not in (None, embedder.fingerprint()):
            raise ModelError(
                f"the encoder {self._config['model']!r} is not the one that the pipeline was saved "
                "with",
                where=self.name,
                remedy="Name the encoder of that time, or save the pipeline again.",
            )
        self._loaded[pooling] = embedder
        return embedder

    def _token_vectors(self, docs: list[Doc]) -> list[FloatArray]:
        """Return the vectors of all tokens; a text that is too long is encoded in pieces."""
        embedder = self._embedder("none")
        length = embedder.max_seq_length
        results = [np.zeros((len(doc), embedder.dimension), np.float32) for doc in docs]
        starts = {at: 0 for at, doc in enumerate(docs) if len(doc)}
        while starts:
            # A token of spaCy is a token of the encoder at least: what is further is not read.
            pieces = {
                at: docs[at][start : None if length is None else start + length]
                for at, start in starts.items()
            }
            found = embedder.encode_tokens([piece.text for piece in pieces.values()])
            starts = {}
            for (at, piece), tokens in zip(pieces.items(), found, strict=True):
                vectors, read = aligned(piece, tokens)
                results[at][piece.start : piece.start + read] = vectors[:read]
                if piece.start + read < len(docs[at]):
                    starts[at] = piece.start + read
        return results


def aligned(piece: Span, tokens: TokenEmbeddings) -> tuple[FloatArray, int]:
    """Return the vectors of spaCy's tokens: the mean of those of the encoder's that they share.

    Args:
        piece: of a document.
        tokens: of the encoder, for the text of the piece.

    Returns:
        An array (tokens of the piece, dimension), zeros for white space; and how many of the
        piece's tokens are done with: those that the encoder read whole, at least one; or all,
        where it read none, because they are nothing to it.
    """
    begins = np.array([token.idx for token in piece]) - piece.start_char
    ends = begins + np.array([len(token) for token in piece])
    own = tokens.offsets[:, 0] < tokens.offsets[:, 1]
    offsets, vectors = tokens.offsets[own], tokens.vectors[own]
    first = np.searchsorted(ends, offsets[:, 0], side="right")
    after = np.searchsorted(begins, offsets[:, 1], side="left")
    counts = np.maximum(after - first, 0)
    which = np.repeat(np.arange(len(offsets)), counts)
    where = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    total = np.zeros((len(begins), tokens.vectors.shape[1]), dtype=np.float32)
    np.add.at(total, where, vectors[which])
    total /= np.maximum(np.bincount(where, minlength=len(begins)), 1)[:, None]
    reached = offsets[:, 1].max(initial=0)
    blank = np.array([token.is_space for token in piece])
    unread = np.flatnonzero((ends > reached) & ~blank & (reached > 0))
    return total, max(int(unread[0]), 1) if len(unread) else len(begins)


def _hook(doc: Doc, *, has_tensor: bool) -> None:
    """Let spaCy ask for our vectors; its own `similarity` warns that there are none."""
    doc.user_hooks["similarity"] = _similarity
    if has_tensor:
        for hooks, vector in (
            (doc.user_token_hooks, _token_vector),
            (doc.user_span_hooks, _span_vector),
        ):
            hooks |= {"vector": vector, "has_vector": _has_vector, "similarity": _similarity}


def _token_vector(token: Token) -> FloatArray:
    vector: FloatArray = token.doc.tensor[token.i]
    return vector


def _span_vector(span: Span) -> FloatArray:
    rows: FloatArray = span.doc.tensor[span.start : span.end]
    vector: FloatArray = rows.sum(axis=0) / np.float32(max(len(rows), 1))
    return vector


def _has_vector(part: Token | Span) -> bool:
    return bool(part.vector.any())


def _similarity(one: Doc | Span | Token, other: Doc | Span | Token) -> float:
    """Return the cosine of the angle between two vectors; 0 where one is zeros."""
    lengths = np.linalg.norm(one.vector) * np.linalg.norm(other.vector)
    return float(one.vector @ other.vector / lengths) if lengths else 0.0


def _make(
    nlp: Language,  # noqa: ARG001 (spaCy passes it)
    name: str,
    model: str,
    layer: int,
    tensor: bool,
    vector: bool,
    options: dict[str, Any],
) -> QAEmbeddings:
    return QAEmbeddings(
        name, model=model, layer=layer, tensor=tensor, vector=vector, options=options
    )


Language.factory(
    FACTORY,
    assigns=["doc.tensor"],
    default_config={
        "model": "bundled:encoder",
        "layer": -1,
        "tensor": True,
        "vector": True,
        "options": {},
    },
    func=_make,
)
