"""Conversations: the templates that render them, and where their turns begin and end."""
