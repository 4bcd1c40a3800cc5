"""What speed to expect of a pair, from what its models cost and how often drafts are accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardshift.costs import measure_costs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewardshift.shifts import Shift


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds for one batch.

    Attributes:
        target: Of the target, for 1, 2, ... rows.
        draft: Of the draft, for one row.
        reference: Of the reference, for 1, 2, ... rows.
    """

    target: tuple[float, ...]
    draft: float
    reference: tuple[float, ...]

    def speed(self, k: int, acceptance: float) -> float:
        """Tokens a second to expect of rule "exact" with drafts of ``k`` tokens; 0 drafts none.

        Each decision is taken to accept with the same probability: (1 − a^(k+1)) / (1 − a) tokens a
        round (Leviathan et al., 2023), which costs k drafted tokens and blocks of k + 1 rows.
        """
        tokens = sum(acceptance**i for i in range(k + 1))
        draft = max(1, k) * self.draft
        return tokens / (draft + self.target[k] + self.reference[k])

    @property
    def target_speed(self) -> float:
        """Tokens a second of the target alone."""
        return 1 / self.target[0]

    def best(self, acceptance: float) -> tuple[int, float]:
        """The draft length to expect most of, and its tokens a second."""
        speeds = {k: self.speed(k, acceptance) for k in range(len(self.target))}
        k = max(speeds, key=speeds.__getitem__)
        return k, speeds[k]


def measure_role_costs(roles: Mapping[str, Any], pair: Shift, *, most_rows: int) -> Costs:
    """Measures the models of a target and a shift on this machine.

    Args:
        roles: Arguments of ``Decoder``.
        pair: The shift; an adapter's own cost is small and left out.
        most_rows: The longest block.
    """
    draft = pair.reference if pair.draft is None else pair.draft
    reference = pair.draft if pair.reference is None else pair.reference
    threads = roles.get("n_threads") or 0

    def costs(path: Any, rows: int) -> tuple[float, ...]:  # noqa: ANN401 - what Decoder takes
        return measure_costs(path, most_rows=rows, n_threads=threads)

    return Costs(
        target=costs(roles["target"], most_rows),
        draft=costs(draft, 1)[0],
        reference=costs(reference, most_rows),
    )
