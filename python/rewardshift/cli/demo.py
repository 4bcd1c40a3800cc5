"""Plain and aligned answers of a small real model: ``python -m rewardshift.cli.demo``.

What it does is in ``demonstration``, whose imports take a while: Ctrl-C is answered before.
"""

from __future__ import annotations

from . import start

if __name__ == "__main__":
    start("rewardshift.cli.demonstration", "main")
