"""Model files, read and not guessed: `read_model_file`."""
