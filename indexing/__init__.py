"""The batch job that fills a store: files of reviews in, a searchable store out."""
