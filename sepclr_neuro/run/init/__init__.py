"""``sepclr-neuro init``: a configuration for a folder of data, its guesses explained, its choices open."""
