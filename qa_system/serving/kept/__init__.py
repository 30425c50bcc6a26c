"""What a service keeps of questions and answers, in files of its own: nothing, as it is set."""
