"""A head on the target's last hidden state that drafts: no second model (HASS, ICLR 2025).

It makes the state behind a token out of the one before it and of the token, and says from it what
comes next, in the target's commonest tokens:

    e(x)   = output[x], and 0 for a token that it does not know
    a      = silu(mix([z, e(x)] * input_scale))
    z'     = keep * z + out(a)
    logits = output z'

The first z is the target's own, the next ones are those that it made itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everyone's name for it
from torch import Tensor, nn

from rewardshift.errors import ModelLoadError

from .head_file import rounded, whole_numbers, write_head_file
from .student import target_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .target_states import States

_OUTPUTS = ("output.weight", "token_embd.weight")  # the latter where the two are one
_SAMPLE = 20_000  # positions whose mean and spread are taken for usual
_KEPT = 0.5  # of a state, at the beginning


class BaseHead(nn.Module):  # type: ignore[misc]
    """What a state and the token behind it say of the next token."""

    def __init__(
        self,
        output: NDArray[np.float32],
        tokens: NDArray[np.int32],
        states: States,
        *,
        vocab_size: int,
        hidden: int,
        seed: int,
    ) -> None:
        """Begins with the target's own output.

        Args:
            output: The rows of that, [tokens, width].
            tokens: The ids that it knows, ascending.
            states: Whose mean and spread, and those of its tokens, are taken for usual.
            vocab_size: The target's.
            hidden: Width in the middle.
            seed: Of the matrix in front of it.
        """
        super().__init__()
        width = output.shape[1]
        rows = np.linspace(0, len(states.texts) - 1, min(_SAMPLE, len(states.texts))).astype(int)
        places = np.full(vocab_size, -1)
        places[tokens] = np.arange(len(tokens))
        self.register_buffer("tokens", torch.from_numpy(tokens.astype(np.int64)))
        self.register_buffer("places", torch.from_numpy(places))
        # Steps of the optimiser suit entries of size 1, and a state in units of its spread.
        self.register_buffer("size", torch.tensor(float(np.sqrt(np.square(output).mean()))))
        self.output = nn.Parameter(torch.from_numpy(output) / self.size)
        usual = torch.from_numpy(states.states[rows].astype(np.float32))
        with torch.no_grad():
            said = self.embedded(torch.from_numpy(states.following[rows].astype(np.int64)))
        inputs = torch.cat([usual, said], 1)
        self.register_buffer("mean", inputs.mean(0))
        self.register_buffer("spread", _spread(usual))
        self.register_buffer("input_scale", torch.cat([1 / self.spread, 1 / _spread(said)]))
        torch.manual_seed(seed)
        self.mix = nn.Linear(2 * width, hidden)
        self.out = nn.Linear(hidden, width)
        nn.init.zeros_(self.out.weight)
        self.keep = nn.Parameter(torch.full((width,), _KEPT))
        with torch.no_grad():
            self.out.bias.copy_((1 - _KEPT) * self.mean[:width] / self.spread)

    def embedded(self, ids: Tensor) -> Tensor:
        """Tokens as vectors, [n, width]; 0 for those that it does not know."""
        places = self.places[ids]
        rows = self.output[places.clamp(min=0)] * self.size
        return rows * (places >= 0)[:, None]

    def forward(self, states: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The states behind some tokens, [n, width], and the logits there, [n, tokens].

        Args:
            states: Those before them, [n, width].
            ids: The target's ids of the tokens, [n].
        """
        inputs = (torch.cat([states, self.embedded(ids)], 1) - self.mean) * self.input_scale
        made = self.keep * states + self.spread * self.out(F.silu(self.mix(inputs)))
        return made, F.linear(made, self.output * self.size)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def round_weights(self) -> None:
        """Makes the matrices what they will be when they are written."""
        for matrix in (self.output, self.mix.weight, self.out.weight):
            matrix.copy_(rounded(matrix))


def _spread(values: Tensor) -> Tensor:
    """Of each column; what hardly changes does not count for more than a thousandth of others."""
    spread = values.std(0, unbiased=False)
    return spread.clamp(min=float(1e-3 * spread.mean() + 1e-6))


def output_rows(target: Path, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """What a target multiplies its state by to get the logits of some tokens, [tokens, width].

    Raises:
        ModelLoadError: If the file has no such matrix.
    """
    output = target_matrix(target, _OUTPUTS, tokens)
    if output is None:
        raise ModelLoadError(
            f"{target} has no {' nor '.join(_OUTPUTS)}: a head cannot begin with its output"
        )
    return output


@torch.no_grad()  # type: ignore[untyped-decorator]
def write_base_head(head: BaseHead, path: Path, *, name: str, target: Path) -> None:
    """Writes a head as GGUF.

    Args:
        head: Usual means become part of a bias, and spreads of scales.
        path: The file; it appears when it is whole.
        name: For people.
        target: GGUF whose states it reads.
    """
    output, output_scale = whole_numbers(head.output)
    mix, mix_scale = whole_numbers(head.mix.weight)
    out, out_scale = whole_numbers(head.out.weight)
    usual = (head.mean.double() * head.input_scale) @ (mix.double() * mix_scale[:, None]).T
    hidden, width = mix.shape[0], out.shape[0]
    tensors = {
        "tokens": head.tokens.int(),
        "output.weight": output.T.to(torch.int8),
        "output.scale": output_scale * head.size,
        "mix.weight": mix.T.to(torch.int8),
        "mix.scale": mix_scale,
        "mix.bias": (head.mix.bias - usual).float(),
        "out.weight": out.T.to(torch.int8),
        "out.scale": out_scale * head.spread,
        "out.bias": head.out.bias * head.spread,
        "keep": head.keep,
        "input.scale": head.input_scale,
    }
    write_head_file(
        path,
        kind="base",
        name=name,
        target=target,
        numbers={
            "feature_length": width,
            "vocab_size": len(head.places),
            "hidden_length": hidden,
        },
        tensors={key: np.ascontiguousarray(value.numpy()) for key, value in tensors.items()},
    )
