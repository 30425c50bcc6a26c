"""The harness: labelled questions in; numbers, per-question rows and a report out."""

import qa_system  # noqa: F401  (first: it turns telemetry off)
