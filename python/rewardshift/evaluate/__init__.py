"""Methods on the same models, prompts and seeds: what each gives and what it costs.

``evaluate`` runs them, ``summarise`` adds up, ``save_plots`` and ``write_report`` show it; the
command ``rewardshift eval`` does all of it.
"""

from .beside import samples_beside
from .equal_gold import EqualGold
from .plots import save_plots
from .prompts import EvaluationPrompt, evaluation_prompts
from .report import RunFacts, facts_of, write_report
from .run import EvaluateOptions, Judges, evaluate
from .samples import Sample, read_samples
from .spec import method_of
from .statistics import Interval
from .summary import Row, Summary, summarise

__all__ = [
    "EqualGold",
    "EvaluateOptions",
    "EvaluationPrompt",
    "Interval",
    "Judges",
    "Row",
    "RunFacts",
    "Sample",
    "Summary",
    "evaluate",
    "evaluation_prompts",
    "facts_of",
    "method_of",
    "read_samples",
    "samples_beside",
    "save_plots",
    "summarise",
    "write_report",
]
