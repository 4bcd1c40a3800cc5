"""What users ask for: prompts become token ids, and calls requests of the engine."""
