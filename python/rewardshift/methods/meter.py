"""What an answer costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rewardshift.results import Work, target_logprobs_of
from rewardshift.rewards import scores

from .method import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.results import Completion
    from rewardshift.rewards import Exchange, Reward


class Meter:
    """Counts from its making until the answer: time, the models' work, the reward's.

    The models' work is read from the models themselves: nothing can be forgotten.
    """

    def __init__(self, decoder: Decoder) -> None:
        """Begins to count."""
        self._start = time.perf_counter()
        self._decoder = decoder
        self._before = decoder.work
        self._texts = 0
        self._calls = 0

    def score(self, reward: Reward, exchanges: Sequence[Exchange]) -> list[float]:
        """What a reward says, checked and counted."""
        self._calls += 1
        self._texts += len(exchanges)
        return scores(reward, exchanges)

    def answer(self, **known: Any) -> Answer:  # noqa: ANN401 - of many types
        """The answer, with what it took so far.

        Args:
            **known: The answer's other attributes.
        """
        nothing = Work(0, 0)
        work = {
            role: now - self._before.get(role, nothing) for role, now in self._decoder.work.items()
        }
        return Answer(
            seconds=time.perf_counter() - self._start,
            evaluated={**{role: w.tokens for role, w in work.items()}, "reward": self._texts},
            calls={**{role: w.batches for role, w in work.items()}, "reward": self._calls},
            **known,
        )

    def answer_with(self, completion: Completion, **known: Any) -> Answer:  # noqa: ANN401
        """The answer that is one completion as it was decoded."""
        steps = completion.steps
        return self.answer(
            text=completion.text,
            tokens=completion.tokens,
            finish_reason=completion.finish_reason,
            target_logprobs=target_logprobs_of(steps),
            log_z=tuple(step.log_z for step in steps if step.log_z is not None),
            drafted=completion.statistics.drafted,
            accepted=completion.statistics.accepted,
            acceptance_by_position=completion.statistics.acceptance_by_position,
            **known,
        )
