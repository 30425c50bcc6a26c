"""The harness: labelled questions in; numbers, per-question rows and a report out."""
