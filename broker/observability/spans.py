"""Spans: each step of a declaration as an OpenTelemetry span, for whoever collects them; off unless somebody asks.

Refuses: an attribute that may not stand in a log line: the same keys, of the same types
(`broker.observability.observe.KEYS`).
Keeps: without a collector a step costs one comparison, and OpenTelemetry is not even imported.

The spans of one declaration have its trace id, and one parent, which nobody records: they were made in many processes.
"""

from typing import Any, Final

from broker.observability.observe import KEYS
from broker.observability.tracing import TraceId
from schemas.errors import Refused
from schemas.names import Instant

_MS: Final = 1_000_000
_COLLECTOR: Final[list[Any]] = []
"""The tracer that spans are given to, or none."""


def collect(processor: Any) -> Any:
    """Give every span to an OpenTelemetry span processor from now on; None: to nobody. Returns the provider.

    Raises Refused `otel.no-driver` when the extra `otel` is not installed.
    """
    _COLLECTOR.clear()
    if processor is None:
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
    except ModuleNotFoundError as error:
        raise Refused("otel.no-driver", driver=error.name or "opentelemetry") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "unefois"}))
    provider.add_span_processor(processor)
    _COLLECTOR.append(provider.get_tracer("unefois"))
    return provider


def export_to(endpoint: str) -> Any:
    """Send spans in batches to an OTLP collector over HTTP. Returns the provider, to be shut down at the end.

    Raises Refused `otel.no-driver`.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise Refused("otel.no-driver", driver=error.name or "opentelemetry") from None
    return collect(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))


def ended(name: str, trace: TraceId, since: Instant, until: Instant, **told: object) -> None:
    """A step that is over and committed. `told` as in a log line; what may not stand there is left out."""
    if not _COLLECTOR:
        return
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    parent = SpanContext(
        int.from_bytes(trace), int.from_bytes(trace.root), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    allowed = {key: KEYS[key](value) for key, value in told.items() if key in KEYS}
    span = _COLLECTOR[0].start_span(
        name,
        context=set_span_in_context(NonRecordingSpan(parent)),
        attributes={f"unefois.{key}": value for key, value in allowed.items() if value is not None},
        start_time=since * _MS,
    )
    span.end(until * _MS)
