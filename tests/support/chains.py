"""Made-up targets: their next state is made of the last one and a token, and says a law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.train.target_states import States

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Chain:
    """A target that remembers by its state alone.

    Attributes:
        read: What each token adds to the state, [tokens, width].
        memory: What is left of the last state, [width, width].
        output: What the state is multiplied by, [tokens, width].
    """

    read: NDArray[np.float32]
    memory: NDArray[np.float64]
    output: NDArray[np.float32]

    @classmethod
    def random(
        cls, tokens: int, width: int, *, kept: float, sharpness: float = 2.0, seed: int = 1
    ) -> Chain:
        """Logits have about the standard deviation ``sharpness``; ``kept`` is left of a state."""
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
        read = rng.normal(size=(tokens, width)) * np.sqrt(1 - kept**2)
        output = rng.normal(size=(tokens, width)) * sharpness / np.sqrt(width)
        return cls(read.astype(np.float32), kept * turn, output.astype(np.float32))

    def behind(self, states: NDArray[np.floating], tokens: ArrayLike) -> NDArray[np.float64]:
        """The states behind tokens, [n, width]."""
        return np.asarray(states @ self.memory + self.read[tokens], np.float64)

    def log_p(self, states: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
        """What follows states, [n, tokens]."""
        logits = states.astype(np.float64) @ self.output.T / temperature
        return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))

    def says(
        self, texts: int, length: int, *, likely: int | None = None, temperature: float = 1.0
    ) -> States:
        """What is cached of texts.

        Args:
            texts: How many.
            length: Of each.
            likely: So many of the most probable tokens are kept, and one that stands for the rest;
                None keeps all.
            temperature: At which they are said.
        """
        rng = np.random.default_rng([texts, length])
        state = np.zeros((texts, len(self.memory)))
        behind, said = [], []
        for _ in range(length + 5):  # the first of which make it forget how it began
            law = np.exp(self.log_p(state, temperature)).cumsum(1)
            drawn = (rng.random((texts, 1)) * law[:, -1:] > law).sum(1)
            behind.append(state)
            said.append(drawn)
            state = self.behind(state, drawn)
        states = np.stack(behind[5:], 1).reshape(texts * length, -1).astype(np.float16)
        log_p = self.log_p(states)
        ids = np.argsort(-log_p, 1)[:, :likely]
        kept = np.take_along_axis(log_p, ids, 1)
        if likely is not None:
            rest = 1 - np.exp(kept).sum(1, keepdims=True)
            every = np.arange(len(self.read))
            others = [[rng.choice(np.setdiff1d(every, row))] for row in ids]
            ids, kept = np.append(ids, others, 1), np.append(kept, np.log(rest), 1)
        return States(
            states=states,
            ids=ids.astype(np.int32),
            log_p=kept.astype(np.float16),
            log_ratio=np.zeros(kept.shape, np.float16),
            following=np.stack(said[5:], 1).reshape(-1).astype(np.int32),
            texts=np.repeat(np.arange(texts), length).astype(np.int32),
        )
