"""What tests of training share: a shape, questions, and warnings that say nothing of us."""

from __future__ import annotations

import pytest

from rewardshift.train.student import Shape

OTHERS_WARNINGS = [
    # TRL and transformers warn of each other's names.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SHAPE = Shape(width=32, layers=2, head_size=8, n_ctx=256)
QUESTIONS = ("a b", "cd", "ab cd d", "b")
