"""Many questions at a time: a file of questions and items in, a file of answers out."""
