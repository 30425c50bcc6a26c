"""An index behind a name: how to reach it, how it is made, and what is known of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from qa_system.errors import (
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.elastic.bulk import BulkSettings, BulkWriter
from qa_system.stores.elastic.connection import Connection, explained
from qa_system.stores.elastic.filters import ALL, Query
from qa_system.stores.elastic.mapping import (
    FORMAT,
    IndexOptions,
    IndexState,
    embedding_fields,
    mappings,
    meta_of,
    sentence_fields,
)
from qa_system.stores.elastic.versions import aliases
from qa_system.stores.elastic.versions.upgrade import upgrade
from qa_system.stores.filters.unknown import UnknownFields

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["ElasticIndex", "NewIndex"]

REFRESH_OFF: Final = "-1"


@dataclass(frozen=True, slots=True)
class NewIndex:
    """What an index is made with, where there is none yet; see `ElasticsearchReviewStore`."""

    similarity: Similarity | None
    embedding_dim: int | None
    index_options: IndexOptions
    shards: int
    replicas: int
    refresh_interval: str

    def similarity_for(self, encoder: EncoderIdentity | None) -> Similarity:
        """Return the similarity of an index that an encoder fills."""
        if self.similarity is not None:
            return self.similarity
        return "dot_product" if encoder is None else encoder.similarity

    def settings(self) -> dict[str, Any]:
        """Return the server's settings."""
        return {
            "number_of_shards": self.shards,
            "number_of_replicas": self.replicas,
            "refresh_interval": self.refresh_interval,
        }


class ElasticIndex:
    """One name on one server.

    Args:
        connection: the server.
        name: an alias, or a version's own name.
        new: what a version is made with.
        bulk: how it is written.
    """

    def __init__(
        self, connection: Connection, name: str, new: NewIndex, bulk: BulkSettings
    ) -> None:
        self.connection = connection
        self.name = name
        self.new = new
        self.bulk = bulk
        self.where = f"index {name!r} on {connection.url}"
        self.unknown = UnknownFields()
        self.told_damaged: set[str] = set()
        self._known: IndexState | None = None
        self._is_loading = False
        self._lock = Lock()
        self._upgrading = Lock()
        self._last_stamp = 0

    @property
    def client(self) -> Elasticsearch:
        """The server's client; see `Connection.client`."""
        return self.connection.client

    def state(self, *, fresh: bool = False) -> IndexState | None:
        """Return the version that is read, as it was when it was first looked at; None: none is.

        Raises:
            StoreMismatchError: it was made with other settings, or by somebody else.
        """
        known = self._known
        if fresh or known is None:
            known = aliases.live(self.client, self.name, self.where)
            self._check(known)
            self._known = known
        return known

    def state_with_dimension(self, fresh: bool = False) -> IndexState | None:
        """Return it as `state` does, but look again for the dimension that the first write set."""
        state = self.state(fresh=fresh)
        if not fresh and state is not None and state.dimension is None:
            state = self.state(fresh=True)
        return state

    def forget(self) -> None:
        """Look at the index anew when it is next needed."""
        self._known = None

    def state_for_writing(self) -> IndexState | None:
        """Return it as `state_with_dimension` does, after an index of older format is upgraded."""
        state = self.state_with_dimension()
        if state is None or state.format == FORMAT:
            return state
        with self._upgrading:
            state = self.state(fresh=True)
            if state is not None:
                self.upgrade(state)
            return self.state(fresh=True)

    def upgrade(self, state: IndexState) -> None:
        """Bring a version to the format of today, if it has an older one."""
        if state.format < FORMAT:
            with self.connection.patient(self.bulk.retry_for):
                upgrade(self.writer(state.index), state)

    def ensure(self) -> IndexState:
        """Return the version that is read, to write to it; make the first where there is none."""
        return self.state_for_writing() or self.create(None)

    def fix_dimension(self, state: IndexState, dimension: int) -> None:
        """Let all embeddings have so many numbers, whole reviews' and passages'.

        Left to the server, the first one of either would decide for its own field only.
        """
        fields = embedding_fields(state.similarity, state.index_options, dimension)
        with explained(self.where):
            self.client.indices.put_mapping(index=state.index, properties=fields)
        self.forget()

    def add_sentences(self, state: IndexState) -> None:
        """Add the fields of sentences to an index that was made before there were any."""
        with explained(self.where):
            self.client.indices.put_mapping(index=state.index, properties=sentence_fields())
        self.forget()

    def bind(self, state: IndexState, encoder: EncoderIdentity) -> None:
        """Record who makes the embeddings of an index."""
        fields = embedding_fields(state.similarity, state.index_options, encoder.dimension)
        meta = meta_of(state.similarity, encoder, promoted=state.promoted, notes=state.notes)
        with explained(self.where):
            self.client.indices.put_mapping(index=state.index, properties=fields, meta=meta)
        self.forget()

    def rebind(self, encoder: EncoderIdentity) -> bool:
        """Record another question encoder, if nothing else differs; tell whether that was so."""
        state = self.state_for_writing()
        if state is None or state.encoder is None:
            return False
        if not state.encoder.differs_in_questions(encoder):
            return False
        self.bind(state, encoder)
        return True

    def note(self, values: Mapping[str, Any]) -> None:
        """Keep JSON values with the index, each in place of the one of its name."""
        state = self.state(fresh=True) or self.ensure()
        meta = meta_of(
            state.similarity,
            state.encoder,
            promoted=state.promoted,
            notes={**state.notes, **values},
            format_=state.format,
        )
        with explained(self.where):
            self.client.indices.put_mapping(index=state.index, meta=meta)
        self.forget()

    def delete(self) -> None:
        """Delete the version that is read, with what it knows of encoder and dimension."""
        state = self.state()
        if state is not None:
            with explained(self.where):
                self.client.indices.delete(index=state.index)
            self.forget()

    def create(
        self,
        encoder: EncoderIdentity | None,
        version: str | None = None,
        *,
        similarity: Similarity | None = None,
    ) -> IndexState:
        """Make a version: aside, if it is named; else the first, for this name.

        Args:
            encoder: that it is bound to.
            version: its name; None: the next one, with the alias.
            similarity: None: as `NewIndex` has it.
        """
        is_first = version is None
        if version is None:
            version = f"{self.name}-v1"
            if aliases.number_of(self.name):
                version = self.name
            elif aliases.versions(self.client, self.name, self.where):
                version = aliases.next_name(self.client, self.name, self.where)
        mapping = mappings(
            similarity or self.new.similarity_for(encoder),
            self.new.index_options,
            self.new.embedding_dim if encoder is None else encoder.dimension,
            encoder,
            promoted=is_first,
        )
        alias = self.name if is_first and version != self.name else None
        settings = self.new.settings()
        aliases.create(self.client, version, self.where, mapping, settings, alias)
        made = aliases.live(self.client, version, self.where)
        if made is None:
            raise StoreNotFoundError("the index was deleted as it was made", where=self.where)
        return made

    def writer(self, index: str | None = None) -> BulkWriter:
        """Return what writes here in bulk, or into another index."""
        is_alias = index is None and not aliases.number_of(self.name)
        return BulkWriter(self.client, index or self.name, self.where, self.bulk, is_alias=is_alias)

    def refresh(self, *, always: bool = False) -> None:
        """Let searches find what was written; not while a job is loading, unless `always`."""
        if (always or not self._is_loading) and self.state() is not None:
            with explained(self.where):
                self.client.indices.refresh(index=self.name)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Leave searches as they are until the block ends, and wait for a server that is down."""
        try:
            with self.connection.patient(self.bulk.retry_for):
                self.ensure()
                self._set_refresh(REFRESH_OFF)
                self.refresh()
                self._is_loading = True
                yield
                self.settle()
        except BaseException:
            # Who gives up does not wait again.
            with suppress(StoreError):
                self.settle()
            raise
        finally:
            self._is_loading = False

    def settle(self) -> bool:
        """Let everything written be found; tell whether a killed `loading` had left that off."""
        if self.state() is None:
            return False
        wanted = self.new.refresh_interval
        is_left = bool(self._refresh_interval() == REFRESH_OFF != wanted)
        if is_left:
            self._set_refresh(wanted)
        self.refresh(always=True)
        return is_left

    def count(self, selected: Query | None) -> int:
        """Count the documents that a query selects; None: all."""
        if self.state() is None:
            return 0
        with explained(self.where):
            found = self.client.count(index=self.name, query=selected or ALL)
        missing = found["_shards"]["failed"]
        if missing:
            raise StoreUnavailableError(
                f"{missing} of the index's shards do not answer, and a part is not counted",
                where=self.where,
                remedy="Wait until the server has them again.",
            )
        return int(found["count"])

    def stamps(self, number: int) -> int:
        """Return the first of so many numbers, all higher than those before."""
        with self._lock:
            first = max(time.time_ns(), self._last_stamp + 1)
            self._last_stamp = first + number - 1
            return first

    def _refresh_interval(self) -> str | None:
        name = "index.refresh_interval"
        with explained(self.where):
            found = self.client.indices.get_settings(index=self.name, name=name, flat_settings=True)
        # The server leaves out an index on which it is not set.
        intervals = [described["settings"].get(name) for described in found.body.values()]
        return intervals[0] if intervals else None

    def _set_refresh(self, interval: str) -> None:
        with explained(self.where):
            self.client.indices.put_settings(
                index=self.name, settings={"refresh_interval": interval}
            )

    def _check(self, state: IndexState | None) -> None:
        """Refuse an index that was made with other settings."""
        if state is None:
            return
        for name, stored, given in (
            ("similarity", state.similarity, self.new.similarity),
            ("embedding_dim", state.dimension, self.new.embedding_dim),
        ):
            if None not in (stored, given) and stored != given:
                raise StoreMismatchError(
                    f"the store has {name} {stored!r}, the settings say {given!r}",
                    where=self.where,
                    remedy=f"Set {name} to {stored!r}, or index under another name.",
                )
