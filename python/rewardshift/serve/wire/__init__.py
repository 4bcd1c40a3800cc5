"""Requests' fields and answers' shapes: OpenAI's, llama-server's, and ours."""
