"""A decoder whose steps wait for leave, so that tests know where it stands."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from rewardshift import Decoder

if TYPE_CHECKING:
    from rewardshift import Chunk


class GatedDecoder(Decoder):
    """Takes as many steps as it is given leave for.

    Attributes:
        arrivals: Steps that have come to wait for leave.
        failure: What the next step raises in place of being taken.
        late_failure: What the next step raises once it has something to tell.
        forgetting: What the next ``forget`` raises.
    """

    def __init__(self, *files: Any, **options: Any) -> None:
        """As a decoder."""
        self.arrivals = 0
        self.failure: Exception | None = None
        self.late_failure: Exception | None = None
        self.forgetting: Exception | None = None
        self._leave = threading.Semaphore(0)
        self._is_open = False
        super().__init__(*files, **options)

    def let(self, steps: int) -> None:
        """Gives leave for so many steps."""
        for _ in range(steps):
            self._leave.release()

    def open_gate(self) -> None:
        """Gives leave for all steps to come."""
        self._is_open = True
        self._leave.release()

    def step(self) -> list[Chunk]:
        """One step, when it may."""
        if not self._is_open:
            self.arrivals += 1
            self._leave.acquire()
        if (failure := self.failure) is not None:
            self.failure = None
            raise failure
        chunks = super().step()
        if chunks and (failure := self.late_failure) is not None:
            self.late_failure = None
            self._engine._unclaimed = chunks  # as the engine is left where a later lane fails
            raise failure
        return chunks

    def forget(self) -> None:
        """Drops what caches hold."""
        if (failure := self.forgetting) is not None:
            self.forgetting = None
            raise failure
        super().forget()
