"""Writing what PyTorch trained as GGUF: students, and LoRA adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.constants import MODEL_ARCH_NAMES
from gguf.quants import quantize
from gguf.tensor_mapping import get_tensor_name_map

from rewardshift.errors import ModelLoadError
from rewardshift.files.atomic import replacing

from .vocabulary import GgufVocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from peft import PeftModel
    from transformers import LlamaForCausalLM, PreTrainedModel

WEIGHT_TYPES = ("F32", "F16", "Q8_0", "Q5_0", "Q4_0")
"""Types that the weights of a student may be written in."""


def write_student(
    student: LlamaForCausalLM,
    target: Path,
    path: Path,
    kind: str = "Q8_0",
    *,
    kept: Sequence[int] | NDArray[np.int32] | None = None,
) -> None:
    """Writes a student with its target's tokenizer and chat template.

    Args:
        student: A llama with tied embedding.
        target: GGUF that the vocabulary comes from.
        path: The file; it appears when it is whole.
        kind: Type of the matrices, of ``WEIGHT_TYPES``; norms stay F32.
        kept: Which of its tokens are the student's, ascending; None: all.

    Raises:
        ValueError: If there is no such type, or the vocabulary is not the target's.
    """
    kind = kind.upper()
    if kind not in WEIGHT_TYPES:
        raise ValueError(f"there is no type {kind!r}; choose one of {', '.join(WEIGHT_TYPES)}")
    config = student.config
    vocabulary = GgufVocabulary.of(target)
    if kept is not None:
        vocabulary = vocabulary.part(kept)
    if (count := len(vocabulary.tokens)) != config.vocab_size:
        raise ValueError(f"the student has {config.vocab_size} tokens, but {target} has {count}")
    with replacing(path) as fresh:
        writer = GGUFWriter(fresh, "llama")
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_vocab_size(config.vocab_size)
        for key, (value, kinds) in vocabulary.keys.items():
            writer.add_key_value(key, value, kinds[0], sub_type=kinds[-1])
        names = _Names("llama", student)
        for name, tensor in student.state_dict().items():
            if name == "lm_head.weight":
                continue  # the embedding again
            values = names.rearranged(name, tensor.float().cpu().numpy())
            _add(writer, names.gguf(name), values, kind)
        _finish(writer)


def write_adapter(model: PeftModel, base: Path, path: Path) -> None:
    """Writes a LoRA as an adapter for the GGUF that its base was read from, in F16.

    Args:
        model: With one LoRA called "default" on linear layers.
        base: GGUF of the base, which names the architecture.
        path: The file; it appears when it is whole.
    """
    arch = architecture(base)
    names = _Names(arch, model.base_model.model)
    with replacing(path) as fresh:
        writer = GGUFWriter(fresh, arch)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(model.peft_config["default"].lora_alpha))
        for name, module in model.base_model.model.named_modules():
            if not hasattr(module, "lora_A"):
                continue
            weight = f"{name}.weight"
            down = module.lora_A["default"].weight.detach().float().cpu().numpy()
            up = module.lora_B["default"].weight.detach().float().cpu().numpy()
            _add(writer, f"{names.gguf(weight)}.lora_a", down, "F16")
            _add(writer, f"{names.gguf(weight)}.lora_b", names.rearranged(weight, up), "F16")
        _finish(writer)


def architecture(path: Path) -> str:
    """What a GGUF says it is, like "llama"."""
    return str(GGUFReader(path).fields["general.architecture"].contents())


class _Names:
    """What transformers calls a tensor, as GGUF has it."""

    def __init__(self, arch: str, model: PreTrainedModel) -> None:
        kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
        self._arch = arch
        self._config = model.config
        self._map = get_tensor_name_map(kinds[arch], model.config.num_hidden_layers)

    def gguf(self, name: str) -> str:
        found = self._map.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelLoadError(f"GGUF has no name for {name} of the architecture {self._arch}")
        return str(found)

    def rearranged(self, name: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output rows of a matrix: llama's positions rotate neighbours, not halves."""
        heads = {
            "q_proj": self._config.num_attention_heads,
            "k_proj": self._config.num_key_value_heads,
        }.get(name.split(".")[-2])
        if self._arch != "llama" or heads is None:
            return rows
        halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _add(writer: GGUFWriter, name: str, values: NDArray[np.float32], kind: str) -> None:
    stored = GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
    writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
