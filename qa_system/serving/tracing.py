"""Haystack's spans as OpenTelemetry's, sent to a collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from haystack.tracing.tracer import Span, Tracer, enable_tracing, tracer
from haystack.tracing.utils import coerce_tag_value
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from typing_extensions import override

__all__ = ["send_traces"]


CONTENT: Final = frozenset({"haystack.pipeline.input_data", "haystack.pipeline.output_data"})
"""Tags that hold questions, though Haystack does not set them as content."""


class _Span(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @override
    def set_tag(self, key: str, value: Any) -> None:
        if key in CONTENT and not tracer.is_content_tracing_enabled:
            return
        self._span.set_attribute(key, coerce_tag_value(value))

    @override
    def raw_span(self) -> trace.Span:
        return self._span


class _Tracer(Tracer):
    def __init__(self, inner: trace.Tracer) -> None:
        self._inner = inner

    @override
    @contextmanager
    def trace(
        self,
        operation_name: str,
        tags: dict[str, Any] | None = None,
        parent_span: Span | None = None,
    ) -> Iterator[Span]:
        parent = None if parent_span is None else trace.set_span_in_context(parent_span.raw_span())
        with self._inner.start_as_current_span(operation_name, context=parent) as raw:
            span = _Span(raw)
            span.set_tags(tags or {})
            yield span

    @override
    def current_span(self) -> Span | None:
        return _Span(trace.get_current_span())


def send_traces(address: str) -> TracerProvider:
    """Send every span to a collector, and return what is shut down at the end.

    Args:
        address: the collector's, for OTLP over HTTP: `http://localhost:4318/v1/traces`.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": "qa-system"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    enable_tracing(_Tracer(provider.get_tracer("qa_system")))
    return provider
