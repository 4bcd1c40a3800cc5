"""The student: a small llama of the target's vocabulary, or a part, as PyTorch trains it.

Its embedding, tied to the head, starts as the target's own in fewer dimensions: the best such
approximation in the least-squares sense, the leading principal directions.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from rewardshift.errors import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Shape:
    """The student's dimensions.

    Attributes:
        width: Of the residual stream.
        layers: How many.
        head_size: Width of an attention head; keys and values have as many heads as queries.
        n_ctx: Longest text.
    """

    width: int = 256
    layers: int = 4
    head_size: int = 64
    n_ctx: int = 2048

    def __post_init__(self) -> None:
        """Raises ValueError for a width that heads do not fill, or that cannot be quantised."""
        if self.width % self.head_size or self.width % 32:
            raise ValueError(
                f"the width should be a multiple of {self.head_size} and of 32, not {self.width}"
            )

    @property
    def hidden(self) -> int:
        """Width of the feed-forward networks: 8/3 of the residual stream's, in whole blocks."""
        return -(-self.width * 8 // 3 // 32) * 32

    def config(self, vocab_size: int) -> LlamaConfig:
        """As transformers has it."""
        return LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.width // self.head_size,
            num_key_value_heads=self.width // self.head_size,
            max_position_embeddings=self.n_ctx,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=None,
        )


def new_student(
    target: Path, shape: Shape, seed: int, kept: NDArray[np.int32] | None = None
) -> LlamaForCausalLM:
    """A student that knows the target's vocabulary and nothing else.

    Args:
        target: GGUF.
        shape: The student's.
        seed: Of all weights but the embedding.
        kept: Which of the target's tokens it has; None: all.
    """
    embedding = target_embedding(target)
    if kept is not None:
        embedding = embedding[kept]
    torch.manual_seed(seed)
    student = LlamaForCausalLM(shape.config(len(embedding)))
    projected = projection(embedding, shape.width)
    with torch.no_grad():
        # Logits at the start are small whatever the target's scale: the final norm gives entries
        # of size 1, so rows of length 1 give logits of that size.
        scale = 1.0 / np.sqrt((projected**2).sum(axis=1).mean())
        student.model.embed_tokens.weight.copy_(torch.from_numpy(projected * scale))
    return student


def old_student(
    path: Path, target: Path, kept: NDArray[np.int32] | None = None
) -> LlamaForCausalLM:
    """A student that was trained before, to be trained on.

    Args:
        path: GGUF of a student of the target's vocabulary, or of the part of it that is kept.
        target: GGUF.
        kept: Which of the target's tokens it is to have; None: all.

    Raises:
        ModelLoadError: If it is no llama with such a vocabulary and a tied embedding.
    """
    student = read_model(path)
    if not isinstance(student, LlamaForCausalLM) or not student.config.tie_word_embeddings:
        raise ModelLoadError(f"{path} is not a student: a llama with a tied embedding")
    tokens, all_tokens = student.config.vocab_size, len(target_embedding(target))
    if kept is not None and tokens == all_tokens:
        return _of_part(student, kept)
    wanted = all_tokens if kept is None else len(kept)
    if tokens != wanted:
        raise ModelLoadError(f"{path} has {tokens} tokens, but the target has {wanted}")
    return student


def _of_part(student: LlamaForCausalLM, kept: NDArray[np.int32]) -> LlamaForCausalLM:
    """The same student without the other tokens."""
    config = copy(student.config)
    config.vocab_size = len(kept)
    smaller = LlamaForCausalLM(config)
    weights = student.state_dict()
    rows = {"model.embed_tokens.weight", "lm_head.weight"}
    smaller.load_state_dict({k: v[kept] if k in rows else v for k, v in weights.items()})
    return smaller


def target_embedding(target: Path) -> NDArray[np.float32]:
    """The target's token embedding, [vocabulary, width].

    Raises:
        ModelLoadError: If the file has none.
    """
    embedding = target_matrix(target, ("token_embd.weight",))
    if embedding is None:
        raise ModelLoadError(f"{target} has no token_embd.weight: it cannot be projected")
    return embedding


def target_matrix(
    target: Path, names: Sequence[str], rows: NDArray[np.int32] | None = None
) -> NDArray[np.float32] | None:
    """A matrix of a GGUF, in float32.

    Args:
        target: GGUF.
        names: Of the matrix; the first that the file has.
        rows: Which of its rows, in that order; None: all.
    """
    tensors = {tensor.name: tensor for tensor in GGUFReader(target).tensors}
    found = next((tensors[name] for name in names if name in tensors), None)
    if found is None:
        return None
    data = found.data if rows is None else found.data[rows]
    return np.asarray(dequantize(data, found.tensor_type), np.float32)


def projection(embedding: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The rows in their ``width`` leading principal directions (none is subtracted), or padded.

    A student wider than its target keeps everything and begins with zeros in the rest.
    """
    values, vectors = np.linalg.eigh(embedding.T.astype(np.float64) @ embedding)
    leading = vectors[:, np.argsort(values)[::-1][:width]]
    projected = (embedding @ leading).astype(np.float32)
    return np.pad(projected, ((0, 0), (0, max(0, width - projected.shape[1]))))


def read_model(path: Path) -> PreTrainedModel:
    """A GGUF as PyTorch trains it, in float32."""
    transformers_logging.disable_progress_bar()  # ours are shown
    read = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    config = read.config
    if hasattr(config, "quantization_config"):  # or the trainer would refuse it
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    return model


def save_checkpoint(path: Path, student: LlamaForCausalLM, **state: object) -> None:
    """Writes weights and whatever else a run needs to go on."""
    from rewardshift.files.atomic import replacing

    with replacing(path) as fresh:
        torch.save({"student": student.state_dict(), **state}, fresh)
