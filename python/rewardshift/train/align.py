"""Alignment: a LoRA on the reference, trained by DPO to prefer what a reward prefers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
)
from transformers.trainer_utils import get_last_checkpoint
from trl import DPOConfig, DPOTrainer

from rewardshift.files.run_options import keep_options
from rewardshift.progress import bars, is_shown

from .curves import draw_alignment
from .export import write_adapter
from .pairs import write_preferences
from .precision import fast_dtype
from .student import read_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.progress import Progress

    from .pairs import Pair

ACCURACY = "eval_rewards/accuracies"


@dataclass(frozen=True, slots=True)
class AlignOptions:
    """How to train.

    Attributes:
        beta: DPO's: how much a difference of implicit rewards counts; smaller shifts further.
        rank: Of the LoRA, which is on every linear layer.
        alpha: Of the LoRA.
        learning_rate: Highest; it falls like a cosine.
        epochs: At most.
        batch: Pairs of one step.
        patience: Evaluations without a smaller held-out loss before the training ends.
        evaluations: Of held-out pairs, in an epoch.
        held_out: Share of the pairs that only measures.
        max_tokens: Of prompt and response together; longer ones lose their end.
        seed: Of everything.
    """

    beta: float = 0.1
    rank: int = 16
    alpha: float = 32.0
    learning_rate: float = 5e-4
    epochs: int = 3
    batch: int = 8
    patience: int = 4
    evaluations: int = 4
    held_out: float = 0.1
    max_tokens: int = 512
    seed: int = 1


def align(
    reference: Path,
    pairs: Sequence[Pair],
    run: Path,
    adapter: Path,
    options: AlignOptions,
    *,
    progress: bool | None = None,
) -> float:
    """Trains an adapter; goes on from the run's last checkpoint.

    Args:
        reference: GGUF of a model that transformers can read (llama, qwen2, ...).
        pairs: What is preferred to what.
        run: Folder for checkpoints, ``align.json`` (the options), ``align.jsonl`` (what was
            measured), with a picture of it, and ``held-out.jsonl`` (the pairs that only measured).
        adapter: GGUF to write: the weights of the least held-out loss. (The best accuracy comes
            early, and of few pairs by luck, when hardly anything has shifted.)
        options: How.
        progress: Whether to show progress; None shows it on a terminal.

    Returns:
        Their held-out accuracy: the share of pairs whose better response has more implicit reward.

    Raises:
        ValueError: If there are fewer than ten pairs, or the run was begun with other options.
    """
    if len(pairs) < 10:
        raise ValueError(f"{len(pairs)} pairs are too few to train on and to measure with")
    keep_options(run / "align.json", asdict(options), may_change=("epochs",))
    learned, measured_on = split(pairs, options)
    write_preferences(run / "held-out.jsonl", measured_on)
    steps = max(1, len(learned) // (options.batch * options.evaluations))
    with bars(shown=is_shown(progress), with_time_left=True) as display:
        trainer = _Trainer(
            model=read_model(reference),
            args=_config(run, options, steps),
            train_dataset=_dataset(learned),
            eval_dataset=_dataset(measured_on),
            processing_class=_no_tokenizer(),
            peft_config=LoraConfig(
                r=options.rank,
                lora_alpha=options.alpha,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
            callbacks=[EarlyStoppingCallback(options.patience), _Log(run, display)],
        )
        trainer.remove_callback(PrinterCallback)
        folder = run / "checkpoints"
        checkpoint = get_last_checkpoint(str(folder)) if folder.exists() else None
        trainer.train(resume_from_checkpoint=checkpoint)
    write_adapter(trainer.model, reference, adapter)
    draw_alignment(run)
    return _accuracy_at(trainer.state.best_global_step, trainer.state.log_history)


def _accuracy_at(step: int, history: Sequence[dict[str, float]]) -> float:
    return next(row[ACCURACY] for row in history if row["step"] == step and ACCURACY in row)


def split(pairs: Sequence[Pair], options: AlignOptions) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and those of other prompts that only measure."""
    prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
    held = max(1, round(options.held_out * len(prompts)))
    order = np.random.default_rng(options.seed).permutation(len(prompts))
    apart = {prompts[i] for i in order[:held]}
    return (
        [pair for pair in pairs if pair.prompt not in apart],
        [pair for pair in pairs if pair.prompt in apart],
    )


def _config(run: Path, options: AlignOptions, steps: int) -> DPOConfig:
    """As TRL has it."""
    return DPOConfig(
        output_dir=str(run / "checkpoints"),
        beta=options.beta,
        max_length=options.max_tokens,
        precompute_ref_log_probs=True,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # a share
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch,
        per_device_eval_batch_size=options.batch,
        seed=options.seed,
        eval_strategy="steps",
        eval_steps=steps,
        save_steps=steps,
        save_total_limit=2,
        logging_steps=steps,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        bf16=torch.cuda.is_available() and fast_dtype(torch.device("cuda")) == torch.bfloat16,
        gradient_checkpointing=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
    )


def _dataset(pairs: Sequence[Pair]) -> Dataset:
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    return Dataset.from_dict({c: [list(getattr(pair, c)) for pair in pairs] for c in columns})


def _no_tokenizer() -> PreTrainedTokenizerFast:
    """TRL wants one; all it needs of it is a token to pad with."""
    words = Tokenizer(WordLevel({"pad": 0}, unk_token="pad"))  # noqa: S106
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="pad", eos_token="pad")  # noqa: S106


class _Trainer(DPOTrainer):  # type: ignore[misc]
    """TRL's, for pairs that are tokens already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:  # noqa: ANN401
        return dataset


class _Log(TrainerCallback):  # type: ignore[misc]
    """Shows progress, and keeps what was measured."""

    def __init__(self, run: Path, display: Progress) -> None:
        self._path = run / "align.jsonl"
        self._display = display
        self._task = display.add_task("aligning", total=None)

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:  # noqa: ANN401
        self._display.update(self._task, total=state.max_steps, completed=state.global_step)

    def on_log(
        self,
        _args: Any,  # noqa: ANN401
        state: Any,  # noqa: ANN401
        _control: Any,  # noqa: ANN401
        logs: dict[str, float] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")
