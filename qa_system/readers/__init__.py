"""From a question and reviews to answers: cut into windows, score, decode, calibrate."""
