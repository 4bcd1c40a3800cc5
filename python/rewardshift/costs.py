"""What a batch costs a model on this machine, by its number of rows."""

from .loading.costs import measure_costs

__all__ = ["measure_costs"]
