"""Files that users bring: prompts, and preferences between responses."""

from .files.prompts import Preference, read_preferences, read_prompts

__all__ = ["Preference", "read_preferences", "read_prompts"]
