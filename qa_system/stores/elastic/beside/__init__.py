"""What is kept beside the documents: indexes of their own for labels and for digests."""
