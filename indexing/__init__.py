"""The batch job that fills a store: files of reviews in, a searchable store out."""

import qa_system  # noqa: F401  (first: it turns telemetry off)
