"""A review's text divided: into passages for the encoder, into sentences as evidence."""
