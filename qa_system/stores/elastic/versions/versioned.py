"""The versions of a store on a server: one is read while the next is built beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from typing_extensions import override

from qa_system.arguments import checked
from qa_system.records import EncoderIdentity
from qa_system.stores import checks
from qa_system.stores.contract import PassageEncoder, ReviewStore
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.versions import aliases, promotion
from qa_system.stores.elastic.versions.reembedding import reembed

__all__ = ["VersionedStore"]


@checked
class VersionedStore(ReviewStore):
    """The methods of `ElasticsearchReviewStore` that make versions, and change which is read."""

    _at: ElasticIndex
    _settings: dict[str, Any]

    @override
    def update_embeddings(
        self,
        encoder: PassageEncoder,
        *,
        batch_size: int = 512,
        on_progress: Callable[[int], None] | None = None,
        sentences: bool = True,
    ) -> int:
        checks.check_passage_encoder(encoder)
        if self._at.rebind(encoder.identity):
            return 0
        with self.new_version(resume=True, encoder=encoder.identity) as built:
            embedded = reembed(
                self._at, built._at, encoder, batch_size, on_progress, divide=sentences
            )
            self.promote(built, expected=self.count_documents())
        return embedded

    def new_version(
        self, *, resume: bool | str = False, encoder: EncoderIdentity | None = None
    ) -> Self:
        """Begin the next version, which nobody reads before `promote`.

        Args:
            resume: go on with the version that an interrupted rebuild has left, if there is one
                (with the same encoder); the name of a version: only with that one.
            encoder: bind the new version to it.

        Returns:
            A store that writes into the new version.
        """
        name = promotion.begin(self._at, resume, encoder)
        built = type(self)(**{**self._settings, "index": name})
        if encoder is not None:
            built.bind_encoder(encoder)
        return built

    def promote(self, built: VersionedStore, *, expected: int | None = None) -> None:
        """Put a version that was built in the place of the one that is read, in one call.

        The version that was read is kept for `rollback`, older ones are deleted.

        Args:
            built: what `new_version` returned.
            expected: documents that it must hold; None: at least one.

        Raises:
            StoreError: it is not whole, or does not find its own documents; nothing changed.
        """
        promotion.promote(self._at, built._at, expected)

    def rollback(self) -> str:
        """Put the version before the one that is read in its place again; return its name.

        Raises:
            StoreNotFoundError: there is none.
        """
        return promotion.rollback(self._at)

    def versions(self) -> list[str]:
        """Return the names of the versions that are there, oldest first."""
        base = aliases.base_of(self._at.name)
        return [each.index for each in aliases.versions(self._at.client, base, self._at.where)]
