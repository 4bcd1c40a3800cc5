"""Results as JSON."""

import dataclasses
import json
import sys

from rewardshift.files.json_values import plain
from rewardshift.results import Completion, Score, Statistics


def print_json(value: object) -> None:
    """Writes one JSON object to stdout; characters that it cannot encode are escaped."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain(value), allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def completion_object(completion: Completion) -> dict[str, object]:
    """A response, its tokens and its statistics."""
    return {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "seed": completion.seed,
        "tokens": completion.steps,
        "statistics": statistics_object(completion.statistics),
        "usage": completion.usage,
    }


def statistics_object(statistics: Statistics) -> dict[str, object]:
    """Statistics with the rates that follow from them."""
    return {
        **{f.name: getattr(statistics, f.name) for f in dataclasses.fields(statistics)},
        "acceptance": statistics.acceptance,
        "tokens_per_round": statistics.tokens_per_round,
        "tokens_per_second": statistics.tokens_per_second,
    }


def score_object(score: Score, texts: list[str]) -> dict[str, object]:
    """Scores by token, with their sums."""
    return {
        "texts": texts,
        **{f.name: getattr(score, f.name) for f in dataclasses.fields(score)},
        "target_logprob": score.target_logprob,
        "goal_logprob": score.goal_logprob,
        "rewards": {name: float(ratio.sum()) for name, ratio in score.shifts.items()},
        "implicit_reward": score.implicit_reward,
    }
