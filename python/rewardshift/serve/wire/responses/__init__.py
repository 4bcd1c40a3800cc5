"""OpenAI's responses: what is asked, and the events and objects that answer it."""
