"""Aligned decoding over HTTP, as llama-server and OpenAI spell it.

``build_app`` makes the ASGI application that ``rewardshift serve`` runs. It needs the extra
``serve``; importing ``rewardshift`` does not.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .app import build_app
    from .settings import Settings

__all__ = ["Settings", "build_app"]

_HOMES = {"build_app": "app", "Settings": "settings"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_extra()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def require_extra() -> None:
    """Raises Error, saying how to get it, if something that serves is missing."""
    from rewardshift.errors import Error

    try:
        for package in ("fastapi", "uvicorn", "prometheus_client"):
            import_module(package)
    except ImportError as error:
        raise Error(
            f"serving needs {error.name}, which is not installed: pip install 'rewardshift[serve]'"
        ) from error
