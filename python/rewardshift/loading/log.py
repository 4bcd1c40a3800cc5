"""llama.cpp's log, which goes to the logger ``rewardshift.llama``."""

from __future__ import annotations

import logging

from rewardshift import _core

_logger = logging.getLogger("rewardshift.llama")
_logger.addHandler(logging.NullHandler())  # silent until the application configures logging


def show_log() -> None:
    """Shows what rewardshift and llama.cpp log on stderr, unless logging is configured already."""
    logging.basicConfig(format="%(name)s: %(message)s")
    logging.getLogger("rewardshift").setLevel(logging.DEBUG)


def forward_log() -> None:
    """Passes what llama.cpp logged on to the logger ``rewardshift.llama``."""
    for level, line in _core.drain_log():
        _logger.log(level, line)
