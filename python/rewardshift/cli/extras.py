"""What commands need beyond the runtime."""

from importlib import import_module

from rewardshift.errors import Error

_NEEDED = ("torch", "transformers", "trl", "peft", "gguf", "matplotlib")


def require_train() -> None:
    """Raises Error, saying how to get it, if something that trains is missing."""
    try:
        for package in _NEEDED:
            import_module(package)
    except ImportError as error:
        raise Error(
            f"training needs {error.name}, which is not installed: pip install 'rewardshift[train]'"
        ) from error
