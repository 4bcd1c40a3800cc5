"""What a batch costs a model on this machine, by its number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import require_whole
from rewardshift.options import split_load_options

from .models import load_model

if TYPE_CHECKING:
    from rewardshift.sources.hub import StrPath


def measure_costs(
    path: StrPath, *, most_rows: int = 16, n_threads: int = 0, n_gpu_layers: int = -1
) -> tuple[float, ...]:
    """Seconds that a model takes for one batch of 1, 2, ... ``most_rows`` new tokens.

    That is what verifying a block costs: K drafted tokens make K + 1 rows. Each is the fastest of
    seven runs, in turns, behind a short history; other programs should be quiet meanwhile.

    Args:
        path: GGUF file of the model.
        most_rows: The longest block.
        n_threads: Threads; 0 is one per physical core.
        n_gpu_layers: Layers kept on the GPU; -1 is all, where there is one.

    Raises:
        ModelLoadError: If the file cannot be loaded or decoded with.
        ValueError: If ``most_rows`` is less than 1.
    """
    require_whole(most_rows=most_rows)
    if most_rows < 1:
        raise ValueError(f"most_rows must be at least 1, not {most_rows}")
    model_options, options = split_load_options(
        {
            "n_gpu_layers": n_gpu_layers,
            "n_threads": n_threads,
            "n_ctx": 4 * (most_rows + 32),
            "n_seq_max": 1,
        }
    )
    options.n_threads = options.n_threads or _core.usable_cores()
    model = load_model(path, model_options, progress=False)
    context = _core.Context(model, options, _core.Threadpool(options.n_threads))
    costs = _core.measure_costs(context, list(range(1, most_rows + 1)), 7)
    return tuple(seconds for _, seconds in costs)
