"""GGUF files become models and contexts, and are written again."""
