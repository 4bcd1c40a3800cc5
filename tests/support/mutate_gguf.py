"""GGUF files that are not what they seem: seeded mutants of valid models and LoRA adapters.

A mutant depends only on the folder's seed files (which are fixed), its seed and its number, so a
failure is reproduced by naming both. `GgufFile` knows every field of a file, so that a mutator can
tell one lie in an otherwise consistent file; the blind mutators know nothing and hit everything.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType

from .heads import BaseHead, Head
from .tiny_encoder import ENCODERS, EncoderSpec, write_encoder
from .tiny_gguf import CHATML_TEMPLATE, TinySpec, bpe_vocab, spm_vocab, write_lora, write_model
from .tiny_recurrent import ARCHITECTURES as RECURRENT
from .tiny_recurrent import RecurrentSpec, write_recurrent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ALIGNMENT = 32
STRING, ARRAY = GGUFValueType.STRING, GGUFValueType.ARRAY
SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "B",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}
INTEGERS = (0, 1, 2, 3, 5, 7, 9, 31, 33, 64, 255, 256, 512, 513, 1 << 15, 1 << 16, 1 << 20, 1 << 24)
LIMITS = tuple((1 << bits) + off for bits in (31, 32, 33, 40, 62, 63, 64) for off in (-1, 0, 1))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, -1e30, 3e38, float("inf"), float("-inf"), float("nan"))
STRINGS = (b"", b"\0", b"\xff\xfe", b"%s%n", b" ", b"a" * 5000, "\u2581".encode(), b"<0x0A>", b"\n")
TENSOR_TYPES = tuple(int(kind) for kind in GGMLQuantizationType)
ARCHITECTURES = (
    *(
        "llama",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "gemma3",
        "phi3",
        "olmo2",
        "mistral3",
        "granite",
    ),
    *("smollm3", "cohere2", "exaone4", "starcoder2", "stablelm", "internlm2", "arwkv7"),
    *(
        "nomic-bert",
        "eurobert",
        "t5",
        "clip",
        "gpt2",
        "qwen3moe",
        "llama4",
        "deepseek2",
        "dream",
        "qwen2vl",
    ),
    *RECURRENT,
    *ENCODERS,
)
TOKENIZERS = ("llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "gemma4", "test", "no_vocab", "none")
PRE_TOKENIZERS = (
    "default",
    "llama-bpe",
    "qwen2",
    "gpt-2",
    "tekken",
    "smollm",
    "kimi-k2",
    "nonsense",
)
"""Names that llama.cpp knows; a mutator puts one where another is expected."""

HYPERPARAMETERS = (
    *("attention.key_length", "attention.value_length", "attention.key_length_swa"),
    *("attention.value_length_swa", "attention.sliding_window", "attention.sliding_window_pattern"),
    *("attention.layer_norm_epsilon", "attention.scale", "attention.clamp_kqv"),
    *("attention.max_alibi_bias", "attention.shared_kv_layers", "attention.temperature_length"),
    *("rope.dimension_count_swa", "rope.dimension_sections", "rope.freq_base_swa"),
    *("rope.scaling.factor", "rope.scaling.attn_factor", "rope.scaling.original_context_length"),
    *("rope.scale_linear", "expert_count", "expert_used_count", "expert_group_count"),
    *("expert_group_used_count", "expert_shared_count", "leading_dense_block_count"),
    *("expert_feed_forward_length", "expert_gating_func", "expert_weights_scale"),
    *("interleave_moe_layer_step", "nextn_predict_layers", "embedding_length_out", "pooling_type"),
    *("logit_scale", "residual_scale", "embedding_scale", "attn_logit_softcapping"),
    *("final_logit_softcapping", "full_attention_interval", "ssm.inner_size", "n_deepstack_layers"),
    *("ssm.conv_kernel", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"),
    *("wkv.head_size", "token_shift_count", "rescale_every_n_layers", "shortconv.l_cache"),
    *("classifier.pooling_type", "hidden_activation"),
    *("kda.head_dim", "attention.kv_lora_rank", "time_mix_extra_dim", "attention.iclr_lora_rank"),
)
GENERAL = (
    *("general.alignment", "general.file_type", "split.count", "split.no", "split.tensors.count"),
    *("tokenizer.ggml.padding_token_id", "tokenizer.ggml.mask_token_id"),
    *("tokenizer.ggml.eot_token_id", "tokenizer.ggml.suffix_token_id"),
    *("tokenizer.ggml.token_type_count", "tokenizer.ggml.seperator_token_id"),
)
FLAGS = (
    *("tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_sep_token"),
    *("tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.add_bos_token"),
)
"""Keys that our tiny models do not need and that llama.cpp reads."""


@dataclass(slots=True)
class Entry:
    """A key and its value; of an array, `kind` is that of its elements and `value` their list."""

    key: bytes
    kind: int
    value: Any
    is_array: bool = False


@dataclass(slots=True)
class Tensor:
    """What a file says of a tensor, and its bytes; `offset` overrides the true one."""

    name: bytes
    shape: list[int]
    kind: int
    data: bytes
    offset: int | None = None


@dataclass(slots=True)
class GgufFile:
    """A GGUF file as its parts. Counts of None are the true ones."""

    entries: list[Entry]
    tensors: list[Tensor]
    version: int = 3
    n_entries: int | None = None
    n_tensors: int | None = None

    @classmethod
    def parse(cls, content: bytes) -> GgufFile:
        """Takes a valid file apart."""
        reader = _Reader(content, 4)
        version, n_tensors, n_entries = reader.take("I"), reader.take("Q"), reader.take("Q")
        entries = [reader.entry() for _ in range(n_entries)]
        tensors = [Tensor(*reader.tensor()) for _ in range(n_tensors)]
        start = -(-reader.at // ALIGNMENT) * ALIGNMENT
        for tensor in tensors:
            block, size = gguf.GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
            length = int(np.prod(tensor.shape)) // block * size
            begin = start + (tensor.offset or 0)
            tensor.data, tensor.offset = content[begin : begin + length], None
        return cls(entries, tensors, version)

    def __bytes__(self) -> bytes:
        """The file."""
        return self.content()

    def content(self, fields: list[tuple[int, int]] | None = None) -> bytes:
        """The file; `fields` gets the (offset, size) of every number of its header."""
        out = _Writer(fields if fields is not None else [])
        out.raw(b"GGUF")
        out.number("I", self.version)
        out.number("Q", len(self.tensors) if self.n_tensors is None else self.n_tensors)
        out.number("Q", len(self.entries) if self.n_entries is None else self.n_entries)
        for entry in self.entries:
            out.entry(entry)
        at = 0
        for tensor in self.tensors:
            out.string(tensor.name)
            out.number("I", len(tensor.shape))
            for length in tensor.shape:
                out.number("Q", length)
            out.number("I", tensor.kind)
            out.number("Q", at if tensor.offset is None else tensor.offset)
            at += -(-len(tensor.data) // ALIGNMENT) * ALIGNMENT
        for tensor in self.tensors:
            out.pad()
            out.raw(tensor.data)
        out.pad()
        return bytes(out.bytes)

    def find(self, key: str) -> Entry | None:
        """The entry of a key."""
        return next((entry for entry in self.entries if entry.key == key.encode()), None)

    def put(self, key: str, kind: int, value: object, *, is_array: bool = False) -> None:
        """Sets a key, new or old."""
        new = Entry(key.encode(), kind, value, is_array)
        self.entries = [entry for entry in self.entries if entry.key != new.key] + [new]

    def drop(self, *names: str) -> None:
        """Removes the weights so named, in every layer."""
        parts = {name.encode() for name in names}
        self.tensors = [t for t in self.tensors if t.name.split(b".")[-2] not in parts]

    def add(self, name: str, *shape: int) -> None:
        """Adds an F32 tensor of small weights, with a shape in GGUF's order."""
        weights = np.full(int(np.prod(shape)), 0.05, np.float32).tobytes()
        self.tensors.append(Tensor(name.encode(), list(shape), 0, weights))

    @property
    def architecture(self) -> str:
        """As the file names it."""
        entry = self.find("general.architecture")
        is_text = entry is not None and isinstance(entry.value, bytes)
        return entry.value.decode(errors="replace") if is_text else ""

    def rename_architecture(self, name: str) -> None:
        """Another architecture, and its prefix on every key that has one."""
        old = self.architecture.encode() + b"."
        for entry in self.entries:
            if entry.key.startswith(old):
                entry.key = name.encode() + b"." + entry.key.removeprefix(old)
        self.put("general.architecture", STRING, name.encode())


class _Reader:
    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def take(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.content, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def string(self) -> bytes:
        length = self.take("Q")
        self.at += length
        return self.content[self.at - length : self.at]

    def value(self, kind: int) -> Any:
        return self.string() if kind == STRING else self.take(SCALARS[GGUFValueType(kind)])

    def entry(self) -> Entry:
        key, kind = self.string(), self.take("I")
        if kind != ARRAY:
            return Entry(key, kind, self.value(kind))
        kind, count = self.take("I"), self.take("Q")
        return Entry(key, kind, [self.value(kind) for _ in range(count)], is_array=True)

    def tensor(self) -> tuple[bytes, list[int], int, bytes, int]:
        name = self.string()
        shape = [self.take("Q") for _ in range(self.take("I"))]
        return name, shape, self.take("I"), b"", self.take("Q")


class _Writer:
    def __init__(self, fields: list[tuple[int, int]]) -> None:
        self.bytes, self.fields = bytearray(), fields

    def raw(self, content: bytes) -> None:
        self.bytes += content

    def number(self, code: str, value: float) -> None:
        size = struct.calcsize("<" + code)
        self.fields.append((len(self.bytes), size))
        if code not in "fd":  # wraps, as a field would that was written by mistake
            self.bytes += (int(value) % (1 << 8 * size)).to_bytes(size, "little")
        else:
            self.bytes += struct.pack("<" + code, _as_float(code, value))

    def string(self, text: bytes) -> None:
        self.number("Q", len(text))
        self.raw(text)

    def value(self, kind: int, value: Any) -> None:
        if kind == STRING:
            self.string(value)
        else:
            self.number(SCALARS[GGUFValueType(kind)], value)

    def entry(self, entry: Entry) -> None:
        self.string(entry.key)
        if not entry.is_array:
            self.number("I", entry.kind)
            self.value(entry.kind, entry.value)
            return
        self.number("I", ARRAY)
        self.number("I", entry.kind)
        self.number("Q", len(entry.value))
        for value in entry.value:
            self.value(entry.kind, value)

    def pad(self) -> None:
        self.raw(b"\0" * (-len(self.bytes) % ALIGNMENT))


def _as_float(code: str, value: float) -> float:
    largest = 3.4e38 if code == "f" else 1e308
    return value if not abs(value) > largest or value in FLOATS[-3:] else largest


# --- valid files to start from -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid file: a model, an adapter of the model at `base`, a head for it, or a reward."""

    name: str
    content: bytes
    base: Path | None = None
    head: str | None = None  # its kind
    is_reward: bool = False


def write_seeds(folder: Path) -> list[Seed]:
    """Writes valid tiny models of several architectures and adapters; all load and work."""
    small = {"n_embd": 16, "n_head": 2, "n_head_kv": 1, "n_ff": 32}
    spm = {**small, "vocab": spm_vocab(24)}
    specs = {
        "llama": TinySpec(**spm),
        "llama-bytes": TinySpec(**small, vocab=spm_vocab(268, byte_tokens=True)),
        "llama-bpe": TinySpec(**small, vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE),
        "qwen2": TinySpec(**spm, arch="qwen2"),
        "qwen2-bpe": TinySpec(**small, arch="qwen2", vocab=bpe_vocab(add_bos=True)),
        "olmo2": TinySpec(**spm, arch="olmo2", sliding_window=8),
    }
    seeds = []
    for name, spec in specs.items():
        path = folder / f"{name}.gguf"
        model = write_model(path, spec)
        seeds.append(Seed(name, path.read_bytes()))
        if name in ("llama", "qwen2-bpe"):
            lora = write_lora(folder / f"{name}-lora.gguf", model)
            seeds.append(Seed(f"{name}-lora", lora.path.read_bytes(), base=path))
            for kind, made in (("shift", Head), ("base", BaseHead)):
                head = made.random(spec.n_embd, spec.n_vocab).write(folder / f"{name}-{kind}.gguf")
                seeds.append(Seed(f"{name}-{kind}", head.read_bytes(), base=path, head=kind))
    for arch in RECURRENT:
        model = write_recurrent(
            folder / f"{arch}.gguf", RecurrentSpec(arch=arch, vocab=spm_vocab(24))
        )
        seeds.append(Seed(arch, model.path.read_bytes()))
    for name, spec in REWARDS.items():
        encoder = write_encoder(folder / f"{name}.gguf", spec)
        seeds.append(Seed(name, encoder.path.read_bytes(), is_reward=True))
    llama = next(seed.content for seed in seeds if seed.name == "llama")
    for name, alter in RELATIVES.items():
        file = GgufFile.parse(llama)
        alter(file)
        seeds.append(Seed(name, bytes(file)))
    return seeds


ROBERTA = replace(spm_vocab(24, add_eos=True), model="t5", add_sep=True)
SMALL = {"n_embd": 16, "n_head": 2, "n_ff": 32, "n_layer": 2}
MODERN = replace(bpe_vocab(add_bos=True), eos=2, add_eos=True)
REWARDS = {
    "bert": EncoderSpec(**SMALL, classes=("no", "yes")),
    "roberta": EncoderSpec(**SMALL, vocab=ROBERTA, segments=1),
    "jina-bert-v2": EncoderSpec(**SMALL, arch="jina-bert-v2"),
    "modern-bert": EncoderSpec(**SMALL, arch="modern-bert", vocab=MODERN),
    "neo-bert": EncoderSpec(**SMALL, arch="neo-bert", classes=("no", "yes", "maybe")),
}


def _per_layer(file: GgufFile, shapes: dict[str, tuple[int, ...]]) -> None:
    for layer in range(2):
        for name, shape in shapes.items():
            file.add(f"blk.{layer}.{name}.weight", *shape)


def _qwen3(file: GgufFile) -> None:
    file.rename_architecture("qwen3")
    _per_layer(file, {"attn_q_norm": (8,), "attn_k_norm": (8,)})


def _gemma2(file: GgufFile) -> None:
    file.rename_architecture("gemma2")
    file.drop("output")
    _per_layer(file, {"post_attention_norm": (16,), "post_ffw_norm": (16,)})
    _gemma_heads(file)
    file.put("gemma2.attn_logit_softcapping", GGUFValueType.FLOAT32, 50.0)
    file.put("gemma2.final_logit_softcapping", GGUFValueType.FLOAT32, 30.0)


def _gemma3(file: GgufFile) -> None:
    file.rename_architecture("gemma3")
    file.drop("output")
    shapes = {"post_attention_norm": (16,), "post_ffw_norm": (16,)}
    _per_layer(file, shapes | {"attn_q_norm": (8,), "attn_k_norm": (8,)})
    _gemma_heads(file)


def _gemma_heads(file: GgufFile) -> None:
    for name in ("attention.key_length", "attention.value_length", "attention.sliding_window"):
        file.put(f"{file.architecture}.{name}", GGUFValueType.UINT32, 8)


def _phi3(file: GgufFile) -> None:
    file.rename_architecture("phi3")
    file.drop("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")
    _per_layer(file, {"attn_qkv": (16, 32), "ffn_up": (16, 64)})


def _mixtral(file: GgufFile) -> None:
    file.drop("ffn_gate", "ffn_up", "ffn_down")
    shapes = {"ffn_gate_inp": (16, 4), "ffn_gate_exps": (16, 32, 4), "ffn_up_exps": (16, 32, 4)}
    _per_layer(file, shapes | {"ffn_down_exps": (32, 16, 4)})
    file.put("llama.expert_count", GGUFValueType.UINT32, 4)
    file.put("llama.expert_used_count", GGUFValueType.UINT32, 2)


RELATIVES: dict[str, Callable[[GgufFile], None]] = {
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi3": _phi3,
    "mixtral": _mixtral,
}
"""Models of architectures that `tiny_gguf` does not write, made from its llama."""


# --- mutators ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Mutation:
    """A file being mutated. Structured mutators change `file`; `done` freezes it into bytes."""

    random: random.Random
    file: GgufFile
    others: Sequence[Seed]
    log: list[str] = field(default_factory=list)

    def integer(self, near: int = 0) -> int:
        """A hostile integer, often close to what stood there."""
        roll = self.random.random()
        if roll < 0.35:
            return near + self.random.choice((-2, -1, 1, 2, 3, near, -(near // 2), near * 3))
        if roll < 0.8:
            return self.random.choice(INTEGERS)
        return self.random.choice((*LIMITS, -1, -2, -(1 << 31)))

    def scalar(self, kind: int, near: Any) -> Any:
        """A hostile value of a type."""
        if kind == STRING:
            return self.random.choice((*STRINGS, near + b"x", near[:-1], near * 2))
        if kind in (GGUFValueType.FLOAT32, GGUFValueType.FLOAT64):
            return self.random.choice((*FLOATS, self.random.uniform(-2, 2)))
        return self.integer(int(near))

    def note(self, *what: object) -> None:
        """Adds to the description."""
        self.log.append(" ".join(str(part) for part in what)[:200])


def _change_value(m: Mutation) -> None:
    entry = m.random.choice(m.file.entries)
    if not entry.is_array:
        entry.value = m.scalar(entry.kind, entry.value)
        m.note("value", entry.key, repr(entry.value)[:60])
    elif entry.value:
        for _ in range(m.random.choice((1, 1, 2, 20))):
            at = m.random.randrange(len(entry.value))
            near = m.random.choice((entry.value[at], m.random.choice(entry.value)))
            entry.value[at] = m.random.choice((near, m.scalar(entry.kind, near)))
            m.note("element", entry.key, at, repr(entry.value[at])[:60])


def _change_hyperparameter(m: Mutation) -> None:
    prefix = m.file.architecture.encode() + b"."
    mine = [e for e in m.file.entries if e.key.startswith(prefix) and not e.is_array]
    if mine:
        entry = m.random.choice(mine)
        entry.value = m.scalar(entry.kind, entry.value)
        m.note("hyperparameter", entry.key, entry.value)


def _change_type(m: Mutation) -> None:
    entry = m.random.choice(m.file.entries)
    kind = m.random.choice([*SCALARS, STRING])
    m.note("type", entry.key, entry.kind, "->", kind)
    values = entry.value if entry.is_array else [entry.value]
    if kind == STRING:
        values = [v if isinstance(v, bytes) else str(v).encode() for v in values]
    else:
        values = [len(v) if isinstance(v, bytes) else v for v in values]
        if kind not in (GGUFValueType.FLOAT32, GGUFValueType.FLOAT64):
            values = [int(v) if abs(v) < float("inf") else 0 for v in values]
    if m.random.random() < 0.3:
        entry.is_array = not entry.is_array
    entry.kind = kind
    entry.value = values if entry.is_array else (values[0] if values else 0)
    if not entry.is_array and kind == STRING and not isinstance(entry.value, bytes):
        entry.value = b""


def _change_length(m: Mutation) -> None:
    entry = m.random.choice([e for e in m.file.entries if e.is_array] or m.file.entries)
    if not entry.is_array:
        return
    count = m.random.choice((0, 1, len(entry.value) - 1, len(entry.value) + 1, 1000))
    pool = entry.value or [b"" if entry.kind == STRING else 0]
    entry.value = (pool * (count // len(pool) + 1))[: max(count, 0)]
    if entry.kind == STRING and m.random.random() < 0.7:  # so that lengths are all that is wrong
        entry.value = [
            b"%s#%d" % (v, i) if i >= len(pool) else v for i, v in enumerate(entry.value)
        ]
    m.note("length", entry.key, count)


def _remove_entry(m: Mutation) -> None:
    entry = m.random.choice(m.file.entries)
    m.file.entries.remove(entry)
    m.note("without", entry.key)


def _repeat_entry(m: Mutation) -> None:
    entry = m.random.choice(m.file.entries)
    m.file.entries.append(replace(entry, value=entry.value))
    m.note("twice", entry.key)


def _rename_entry(m: Mutation) -> None:
    entry = m.random.choice(m.file.entries)
    entry.key = m.random.choice((*STRINGS, entry.key + b"x", m.random.choice(m.file.entries).key))
    m.note("key", entry.key[:60])


def _add_entry(m: Mutation) -> None:
    arch = m.file.architecture
    names = [f"{arch}.{name}" for name in HYPERPARAMETERS] * 3 + [*GENERAL, *FLAGS]
    name = m.random.choice(names)
    kind = m.random.choice((GGUFValueType.UINT32,) * 3 + (GGUFValueType.FLOAT32, STRING))
    if name.rsplit(".", maxsplit=1)[-1] in ("factor", "scale", "epsilon", "softcapping"):
        kind = GGUFValueType.FLOAT32
    if name in FLAGS:
        kind = GGUFValueType.BOOL
    value = m.scalar(kind, b"x" if kind == STRING else 2)
    if kind != STRING and m.random.random() < 0.2:
        count = m.random.choice((1, 2, 3, 4, 600))
        m.file.put(name, kind, [m.scalar(kind, 2) for _ in range(count)], is_array=True)
    else:
        m.file.put(name, kind, value)
    m.note("with", name, repr(value)[:60])


def _change_rope_scaling(m: Mutation) -> None:
    kinds = (b"none", b"linear", b"yarn", b"longrope", b"", b"nonsense")
    value = m.random.choice(kinds)
    m.file.put(f"{m.file.architecture}.rope.scaling.type", STRING, value)
    m.note("rope scaling", value)


def _change_name(m: Mutation) -> None:
    key, names = m.random.choice(
        (
            ("general.architecture", ARCHITECTURES),
            ("tokenizer.ggml.model", TOKENIZERS),
            ("tokenizer.ggml.model", TOKENIZERS),
            ("tokenizer.ggml.pre", PRE_TOKENIZERS),
        )
    )
    name = m.random.choice(names)
    if key == "general.architecture" and m.random.random() < 0.8:
        m.file.rename_architecture(name)
    else:
        m.file.put(key, STRING, name.encode())
    m.note(key, name)


def _change_special_token(m: Mutation) -> None:
    names = ("bos", "eos", "unknown", "padding", "seperator", "mask", "eot", "eom")
    key = f"tokenizer.ggml.{m.random.choice(names)}_token_id"
    entry = m.file.find(key)
    value = m.integer(entry.value if entry and isinstance(entry.value, int) else 5)
    m.file.put(key, m.random.choice((GGUFValueType.UINT32, GGUFValueType.INT32)), value)
    m.note(key, value)


def _change_token_types(m: Mutation) -> None:
    entry = m.file.find("tokenizer.ggml.token_type")
    if entry is not None and entry.is_array and entry.kind != STRING:
        kind = m.random.randrange(-1, 9)
        some = m.random.choice((0.1, 1.0))
        entry.value = [kind if m.random.random() < some else old for old in entry.value]
        m.note("token types", kind, some)


def _add_charsmap(m: Mutation) -> None:
    size = m.random.choice((0, 3, 4, 8, 64))
    blob = [m.random.choice((0, 1, 4, 255, m.random.randrange(256))) for _ in range(size)]
    m.file.put("tokenizer.ggml.precompiled_charsmap", GGUFValueType.UINT8, blob, is_array=True)
    m.file.put("tokenizer.ggml.model", STRING, b"t5")
    m.note("charsmap", blob[:8])


def _change_shape(m: Mutation) -> None:
    tensor = m.random.choice(m.file.tensors)
    if m.random.random() < 0.3:
        m.random.shuffle(tensor.shape)
    elif tensor.shape:
        at = m.random.randrange(len(tensor.shape))
        tensor.shape[at] = m.integer(tensor.shape[at])
    if m.random.random() < 0.2:
        tensor.shape = (tensor.shape + [m.integer(1)] * 5)[: m.random.choice((0, 1, 2, 3, 4, 5))]
    if m.random.random() < 0.7:
        _fit_data(tensor)
    m.note("shape", tensor.name, tensor.shape)


def _change_tensor_type(m: Mutation) -> None:
    tensor = m.random.choice(m.file.tensors)
    tensor.kind = m.random.choice((*TENSOR_TYPES, 31, 32, 99, -1))
    if m.random.random() < 0.8:
        _fit_data(tensor)
    m.note("tensor type", tensor.name, tensor.kind)


def _change_all_tensor_types(m: Mutation) -> None:
    kind = m.random.choice(TENSOR_TYPES)
    matrices = [tensor for tensor in m.file.tensors if len(tensor.shape) > 1]
    for tensor in matrices if m.random.random() < 0.7 else m.file.tensors:
        tensor.kind = kind
        _fit_data(tensor)
    m.note("tensor types", kind)


def _fit_data(tensor: Tensor) -> None:
    """Makes the file as long as the tensor says, where that is not absurd."""
    if tensor.kind not in TENSOR_TYPES:
        return
    block, size = gguf.GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
    length = int(np.prod([float(n) for n in tensor.shape])) // block * size
    if 0 <= length < 1 << 16:
        tensor.data = (tensor.data * (length // max(len(tensor.data), 1) + 1))[:length].ljust(
            length
        )


def _change_offset(m: Mutation) -> None:
    tensor = m.random.choice(m.file.tensors)
    tensor.offset = m.integer(m.random.choice((0, 32, 1024)))
    m.note("offset", tensor.name, tensor.offset)


def _rename_tensor(m: Mutation) -> None:
    tensor, other = m.random.choice(m.file.tensors), m.random.choice(m.file.tensors)
    old = tensor.name
    swapped = old.replace(b"blk.0", b"blk.1") if b"blk.0" in old else other.name + b"s"
    tensor.name = m.random.choice((*STRINGS, other.name, swapped, old + b".lora_a", old[:-1]))
    m.note("tensor", old, "->", tensor.name[:60])


def _remove_tensor(m: Mutation) -> None:
    tensor = m.random.choice(m.file.tensors)
    m.file.tensors.remove(tensor)
    m.note("without", tensor.name)


def _add_tensor(m: Mutation) -> None:
    names = ("rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.attn_q.scale", "blk.1.ffn_down.bias")
    names += (
        "blk.0.attn_qkv.weight",
        "blk.7.attn_q.weight",
        "output.bias",
        "blk.0.attn_output.bias",
        *("cls.weight", "cls.bias", "cls.norm.weight", "cls.output.bias", "token_types.weight"),
        *("blk.0.attn_q_norm.weight", "blk.0.attn_norm_2.weight", "blk.1.ffn_gate.weight"),
    )
    shape = [m.random.choice((1, 2, 4, 8, 16, 24, 32)) for _ in range(m.random.choice((1, 1, 2)))]
    name = m.random.choice(names)
    m.file.add(name, *shape)
    m.note("with", name, shape)


def _change_weights(m: Mutation) -> None:
    tensor = m.random.choice(m.file.tensors)
    if tensor.data:
        value = struct.pack("<f", m.random.choice(FLOATS))
        at = m.random.randrange(0, max(len(tensor.data) - 3, 1), 4)
        many = m.random.choice((1, len(tensor.data) // 4))
        middle = (value * many)[: len(tensor.data) - at]
        tensor.data = tensor.data[:at] + middle + tensor.data[at + len(middle) :]
        m.note("weights", tensor.name, value.hex())


def _change_counts(m: Mutation) -> None:
    which = m.random.choice(("version", "n_entries", "n_tensors"))
    true = {"version": 3, "n_entries": len(m.file.entries), "n_tensors": len(m.file.tensors)}
    setattr(m.file, which, m.integer(true[which]))
    m.note(which, getattr(m.file, which))


def _reshape_model(m: Mutation) -> None:
    """Other hyper-parameters, with every tensor in the shape that follows from them."""
    arch = m.file.architecture
    n_embd, n_head, n_kv = (m.random.choice((1, 2, 3, 4, 6, 8, 9, 16, 18, 27)) for _ in range(3))
    head = m.random.choice((n_embd // n_head or 1, 1, 2, 7, 8, 9, 1 << 9))
    n_ff = m.random.choice((1, 3, 32))
    sizes = {"attention.head_count": n_head, "attention.head_count_kv": n_kv}
    sizes |= {"embedding_length": n_embd, "feed_forward_length": n_ff}
    sizes |= {"attention.key_length": head, "attention.value_length": head}
    sizes |= {"rope.dimension_count": m.random.choice((head, head, head, head * 2, 1, 3))}
    if m.random.random() < 0.2:
        sizes["attention.value_length"] = m.random.choice((1, 2, 8, head * 2))
    for name, value in sizes.items():
        m.file.put(f"{arch}.{name}", GGUFValueType.UINT32, value)
    new = {16: n_embd, 32: n_ff}
    value_width = sizes["attention.value_length"]
    for tensor in m.file.tensors:
        if not tensor.shape:
            continue
        part = tensor.name.split(b".")[-2].decode() if b"." in tensor.name else ""
        tensor.shape = [new.get(length, length) for length in tensor.shape]
        widths = {"attn_q": n_head * head, "attn_k": n_kv * head, "attn_v": n_kv * value_width}
        if part in widths:
            tensor.shape[-1] = widths[part]
        elif part == "attn_output":
            tensor.shape[0] = n_head * value_width
        elif part in ("attn_q_norm", "attn_k_norm"):
            tensor.shape[-1] = head if arch != "olmo2" else widths[part[:6]]
        elif part == "attn_qkv":
            tensor.shape[-1] = sum(widths.values())
        elif arch in ("phi3", "modern-bert", "neo-bert") and part == "ffn_up":
            tensor.shape[-1] = 2 * n_ff
        _fit_data(tensor)
    m.note("model", sizes)


STRUCTURED: tuple[Callable[[Mutation], None], ...] = (
    *(_change_value, _change_hyperparameter, _change_hyperparameter, _change_type, _change_length),
    *(_remove_entry, _repeat_entry, _rename_entry, _add_entry, _add_entry, _change_rope_scaling),
    *(
        _change_name,
        _change_special_token,
        _change_token_types,
        _add_charsmap,
        _change_shape,
        _change_tensor_type,
    ),
    *(_change_all_tensor_types, _change_offset, _rename_tensor, _remove_tensor, _add_tensor),
    *(_change_weights, _change_counts, _reshape_model, _reshape_model),
)


def _truncate(m: Mutation, content: bytearray) -> None:
    del content[m.random.randrange(len(content)) :]


def _flip_bits(m: Mutation, content: bytearray) -> None:
    most = m.random.choice((200, 2000, len(content)))
    for _ in range(m.random.choice((1, 1, 2, 8, 64))):
        content[m.random.randrange(min(most, len(content)))] ^= 1 << m.random.randrange(8)


def _set_field(m: Mutation, content: bytearray) -> None:
    fields: list[tuple[int, int]] = []
    m.file.content(fields)
    for _ in range(m.random.choice((1, 1, 2))):
        at, size = m.random.choice(fields)
        near = int.from_bytes(content[at : at + size], "little")
        value = m.integer(near) % (1 << 8 * size)
        content[at : at + size] = value.to_bytes(size, "little")
        m.note("field at", at, "=", value)


def _splice(m: Mutation, content: bytearray) -> None:
    other = m.random.choice(m.others).content
    begin = m.random.randrange(len(other))
    piece = other[begin : begin + m.random.choice((1, 8, 100, 5000))]
    at = m.random.randrange(len(content))
    content[at : at + m.random.choice((0, len(piece), 3 * len(piece)))] = piece


BLIND: tuple[Callable[[Mutation, bytearray], None], ...] = (
    _truncate,
    _flip_bits,
    _flip_bits,
    _set_field,
    _set_field,
    _set_field,
    _splice,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutated file, the valid one it was, and what was done to it."""

    seed: Seed
    content: bytes
    what: str


def mutant(seeds: Sequence[Seed], seed: int, number: int) -> Mutant:
    """The mutant of a number: a fixed function of its arguments."""
    rng = random.Random(f"{seed}/{number}")
    source = rng.choice(seeds)
    m = Mutation(rng, GgufFile.parse(source.content), seeds)
    blind = rng.random() < 0.3
    for _ in range(0 if blind else rng.choice((1, 1, 1, 2, 3))):
        mutate = rng.choice(STRUCTURED)
        if m.file.entries and m.file.tensors:
            mutate(m)
    content = bytearray(bytes(m.file))
    if blind:
        act = rng.choice(BLIND)
        m.note(act.__name__)
        act(m, content)
    return Mutant(source, bytes(content), f"{source.name}: {'; '.join(m.log)}")
