"""Text and token ids: a file's vocabulary, and the spellings of its control tokens."""
