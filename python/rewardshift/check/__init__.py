"""Whether a draft and its reference are fit to align a target, and up to which strength."""

from .measure import CheckOptions, PairReport, StrengthReport, TemperatureReport, check_pair
from .plot import save_plot
from .speed import Costs
from .verdict import Verdict, verdict

__all__ = [
    "CheckOptions",
    "Costs",
    "PairReport",
    "StrengthReport",
    "TemperatureReport",
    "Verdict",
    "check_pair",
    "save_plot",
    "verdict",
]
