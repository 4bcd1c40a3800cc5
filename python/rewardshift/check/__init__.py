"""Whether a draft and its reference are fit to align a target, and up to which strength."""

from .measure import CheckOptions, PairReport, StrengthReport, TemperatureReport, check_pair
from .plot import save_plot
from .verdict import Verdict, verdict

__all__ = [
    "CheckOptions",
    "PairReport",
    "StrengthReport",
    "TemperatureReport",
    "Verdict",
    "check_pair",
    "save_plot",
    "verdict",
]
