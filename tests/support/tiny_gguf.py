"""Tiny random GGUF models, LoRA adapters and vocabularies, seeded and F32.

Weights of a tensor depend only on the seed and the tensor's name, row by row, so a model with a
padded vocabulary has the same logits for the shared ids as the model without padding.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from gguf import GGUFWriter, TokenType
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Weights = dict[str, NDArray[np.float32]]
Arch = Literal["llama", "qwen2", "qwen3", "olmo2"]

SPACE = "\u2581"
EOG_TEXTS = frozenset({"</s>", "<|endoftext|>", "<|im_end|>"})
CHATML_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
    "+ message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyVocab:
    """A vocabulary as GGUF stores it; ids are positions in `tokens`.

    Texts must be distinct: llama.cpp aborts the process on a duplicate.
    """

    model: Literal["llama", "gpt2", "bert", "t5", "none"]
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    bos: int
    eos: int
    merges: tuple[str, ...] = ()
    pre: str = "gpt-2"
    add_bos: bool = True
    add_eos: bool = False
    add_sep: bool = False
    add_space_prefix: bool = False

    @property
    def eog(self) -> frozenset[int]:
        """Ids that end a generation, as llama.cpp finds them: by text, plus the EOS id."""
        return frozenset({self.eos, *(i for i, t in enumerate(self.tokens) if t in EOG_TEXTS)})

    def renamed(self, token: int, text: str) -> TinyVocab:
        """The same vocabulary with another text for one id."""
        return replace(self, tokens=(*self.tokens[:token], text, *self.tokens[token + 1 :]))

    def extended(self, texts: Iterable[str], kind: TokenType = TokenType.CONTROL) -> TinyVocab:
        """The same vocabulary with more ids at the end, for example chat markers."""
        added = tuple(texts)
        return replace(self, tokens=self.tokens + added, types=self.types + (kind,) * len(added))

    def padded(self, count: int) -> TinyVocab:
        """The same vocabulary with `count` unused padding ids at the end."""
        first = len(self.tokens)
        return self.extended((f"[PAD{first + i}]" for i in range(count)), TokenType.UNUSED)


def spm_vocab(
    n_vocab: int = 12,
    *,
    byte_tokens: bool = False,
    add_bos: bool = True,
    add_eos: bool = False,
    add_space_prefix: bool = False,
) -> TinyVocab:
    """A SentencePiece-like vocabulary: <unk> <s> </s> a b ▁ c d ab ▁a cd and newline.

    Args:
        n_vocab: Number of ids without byte tokens, at least 4; above 12 come e to z, then w34, ...
        byte_tokens: Insert the 256 tokens <0x00> to <0xFF> after </s>. Without them llama.cpp
            cannot tokenize text that has a character outside the vocabulary.
        add_bos: Whether a tokenizer puts <s> before the text.
        add_eos: Whether a tokenizer puts </s> behind the text.
        add_space_prefix: Whether a tokenizer puts a space before the text.
    """
    special = ["<unk>", "<s>", "</s>"]
    letters = ["a", "b", SPACE, "c", "d", "ab", f"{SPACE}a", "cd", "\n", *"efghijklmnopqrstuvwxyz"]
    words = [f"w{i}" for i in range(len(special) + len(letters), n_vocab)]
    pieces = (letters + words)[: n_vocab - len(special)]
    raw_bytes = [f"<0x{i:02X}>" for i in range(256)] if byte_tokens else []
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    kinds += [TokenType.BYTE] * len(raw_bytes) + [TokenType.NORMAL] * len(pieces)
    return TinyVocab(
        model="llama",
        tokens=tuple(special + raw_bytes + pieces),
        types=tuple(kinds),
        bos=1,
        eos=2,
        add_bos=add_bos,
        add_eos=add_eos,
        add_space_prefix=add_space_prefix,
    )


def wordpiece_vocab() -> TinyVocab:
    """A WordPiece vocabulary: [CLS] [SEP] [UNK], letters and a few words, ▁ where a word begins."""
    special = ("[UNK]", "[CLS]", "[SEP]")
    words = ("▁a", "▁b", "▁ab", "▁cd", "a", "b", "c", "d", "ab", "cd", "▁.", "▁c")
    return TinyVocab(
        model="bert",
        tokens=special + words,
        types=(TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL)
        + (TokenType.NORMAL,) * len(words),
        bos=1,
        eos=2,
        add_bos=False,
    )


BPE_MERGES = ("a b", "c d", "Ġ a", "Ġ b", "ab cd")


def bpe_vocab(
    *, add_bos: bool = False, merges: tuple[str, ...] = BPE_MERGES, pre: str = "gpt-2"
) -> TinyVocab:
    """A byte-level BPE vocabulary: three chat markers, 256 bytes, and a token for each merge.

    Args:
        add_bos: Whether a tokenizer puts <|endoftext|> before the text.
        merges: Pairs of tokens in GPT-2's spelling, the first to merge first.
        pre: How text is cut before it is merged, by llama.cpp's name.
    """
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokens = (*special, *_byte_alphabet(), *(pair.replace(" ", "") for pair in merges))
    plain = len(tokens) - len(special)
    return TinyVocab(
        model="gpt2",
        tokens=tokens,
        types=(TokenType.CONTROL,) * len(special) + (TokenType.NORMAL,) * plain,
        bos=0,
        eos=0,
        merges=merges,
        pre=pre,
        add_bos=add_bos,
    )


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TinySpec:
    """What to write.

    Attributes:
        arch: `llama` rotates interleaved pairs; `qwen2` rotates halves and has q/k/v biases;
            `qwen3` rotates halves and normalises each head of q and k; `olmo2` is the one with
            sliding windows (every other layer, starting at the first).
        scale: Standard deviation of the logits; larger is sharper.
        noise, noise_seed: Relative size and seed of a disturbance of every weight, to make models
            that resemble the one without noise.
        sliding_window: Positions a windowed layer of `olmo2` sees, itself included; 0 sees all.
        classes: Names of the outputs of a classification head; `qwen3` can have one.
        nan_output: Token id whose logit is NaN at every position.
        mute_outputs: Token ids whose logits are 0 everywhere: with a large scale nobody says them.
        nan_embedding: Token id that turns every logit at its own and later positions into NaN.
        name: Of the model; llama.cpp lets some names change how text is read.
    """

    arch: Arch = "llama"
    vocab: TinyVocab = field(default_factory=spm_vocab)
    n_embd: int = 32
    n_layer: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 48
    n_ctx_train: int = 512
    rope_base: float = 10000.0
    rms_eps: float = 1e-5
    seed: int = 0
    scale: float = 1.5
    noise: float = 0.0
    noise_seed: int = 0
    sliding_window: int = 0
    chat_template: str | None = None
    classes: tuple[str, ...] = ()
    nan_output: int | None = None
    mute_outputs: tuple[int, ...] = ()
    nan_embedding: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuses a window that the architecture would silently ignore."""
        if self.sliding_window and self.arch != "olmo2":
            raise ValueError(f"sliding_window={self.sliding_window} needs olmo2, not {self.arch}")

    @property
    def n_vocab(self) -> int:
        """Number of ids, padding included."""
        return len(self.vocab.tokens)


@dataclass(frozen=True, slots=True)
class TinyModel:
    """A written model: its file, and its weights by GGUF tensor name with shape (out, in)."""

    path: Path
    spec: TinySpec
    weights: Weights


@dataclass(frozen=True, slots=True)
class TinyLora:
    """A written adapter: W becomes W + scale * (alpha / rank) * B @ A (alpha 0: no factor)."""

    path: Path
    alpha: float
    weights: Weights


def write_model(path: Path, spec: TinySpec | None = None) -> TinyModel:
    """Writes a model that llama.cpp loads, and returns its weights too."""
    spec = spec or TinySpec()
    weights = {name: _weight(spec, name, shape) for name, shape in tensor_shapes(spec).items()}
    if spec.nan_output is not None:
        weights["output.weight"][spec.nan_output] = np.nan
    weights["output.weight"][list(spec.mute_outputs)] = 0
    if spec.nan_embedding is not None:
        weights["token_embd.weight"][spec.nan_embedding] = np.nan
    writer = GGUFWriter(path, spec.arch)
    _add_architecture(writer, spec)
    add_vocab(writer, spec.vocab)
    if spec.name is not None:
        writer.add_name(spec.name)
    if spec.chat_template is not None:
        writer.add_chat_template(spec.chat_template)
    finish(writer, weights)
    return TinyModel(path, spec, weights)


def write_lora(
    path: Path,
    model: TinyModel,
    *,
    rank: int = 2,
    seed: int = 0,
    scale: float = 0.25,
    alpha: float = 4.0,
    targets: tuple[str, ...] = ("attn_q", "attn_v", "attn_output", "ffn_down"),
) -> TinyLora:
    """Writes a LoRA adapter for the named matrices of every layer of `model`.

    Args:
        path: File to write.
        model: The base model.
        rank: Inner dimension of the update.
        seed: Seed of the random factors.
        scale: Size of the update relative to the base weights, before alpha / rank.
        alpha: The adapter's alpha.
        targets: Matrices to adapt, in GGUF's names.
    """
    weights: Weights = {}
    for layer in range(model.spec.n_layer):
        for target in targets:
            name = f"blk.{layer}.{target}.weight"
            rows, columns = model.weights[name].shape
            down = normal(seed, f"{name}.lora_a", (rank, columns)) / np.sqrt(columns)
            up = normal(seed, f"{name}.lora_b", (rows, rank)) * (scale / np.sqrt(rank))
            weights[f"{name}.lora_a"] = down.astype(np.float32)
            weights[f"{name}.lora_b"] = up.astype(np.float32)
    writer = GGUFWriter(path, model.spec.arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    finish(writer, weights)
    return TinyLora(path, alpha, weights)


def tensor_shapes(spec: TinySpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes, (out, in), of all tensors that the architecture has."""
    n_kv = spec.n_embd // spec.n_head * spec.n_head_kv
    layer: dict[str, tuple[int, ...]] = {
        "attn_q.weight": (spec.n_embd, spec.n_embd),
        "attn_k.weight": (n_kv, spec.n_embd),
        "attn_v.weight": (n_kv, spec.n_embd),
        "attn_output.weight": (spec.n_embd, spec.n_embd),
        "ffn_gate.weight": (spec.n_ff, spec.n_embd),
        "ffn_up.weight": (spec.n_ff, spec.n_embd),
        "ffn_down.weight": (spec.n_embd, spec.n_ff),
    }
    if spec.arch == "olmo2":
        layer |= {"attn_q_norm.weight": (spec.n_embd,), "attn_k_norm.weight": (n_kv,)}
        layer |= {f"post_{part}_norm.weight": (spec.n_embd,) for part in ("attention", "ffw")}
    else:
        layer |= {f"{part}_norm.weight": (spec.n_embd,) for part in ("attn", "ffn")}
    if spec.arch == "qwen3":
        n_head = (spec.n_embd // spec.n_head,)
        layer |= {"attn_q_norm.weight": n_head, "attn_k_norm.weight": n_head}
    if spec.arch == "qwen2":
        layer |= {"attn_q.bias": (spec.n_embd,), "attn_k.bias": (n_kv,), "attn_v.bias": (n_kv,)}
    shapes = {f"blk.{i}.{k}": v for i in range(spec.n_layer) for k, v in layer.items()}
    head = (spec.n_vocab, spec.n_embd)
    if spec.classes:
        shapes["cls.output.weight"] = (len(spec.classes), spec.n_embd)
    return {
        "token_embd.weight": head,
        "output_norm.weight": head[1:],
        "output.weight": head,
    } | shapes


def _weight(spec: TinySpec, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    draw = normal(spec.seed, name, shape)
    if spec.noise:
        draw += spec.noise * normal(spec.noise_seed, f"noise.{name}", shape)
    if name.endswith("_norm.weight"):
        draw = 1 + 0.1 * draw
    elif name.endswith(".bias"):
        draw *= 0.3
    elif name == "output.weight":
        draw *= spec.scale / np.sqrt(shape[1])
    elif name != "token_embd.weight":
        draw /= np.sqrt(shape[1])
    return draw.astype(np.float32)


def normal(seed: int, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers that depend on the seed and the name alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)


def _add_architecture(writer: GGUFWriter, spec: TinySpec) -> None:
    writer.add_context_length(spec.n_ctx_train)
    writer.add_embedding_length(spec.n_embd)
    writer.add_block_count(spec.n_layer)
    writer.add_feed_forward_length(spec.n_ff)
    writer.add_head_count(spec.n_head)
    writer.add_head_count_kv(spec.n_head_kv)
    writer.add_rope_dimension_count(spec.n_embd // spec.n_head)
    writer.add_rope_freq_base(spec.rope_base)
    writer.add_layer_norm_rms_eps(spec.rms_eps)
    if spec.classes:
        writer.add_classifier_output_labels(spec.classes)
    if spec.sliding_window:
        writer.add_sliding_window(spec.sliding_window)
        writer.add_sliding_window_pattern([i % 2 == 0 for i in range(spec.n_layer)])


def add_vocab(writer: GGUFWriter, vocab: TinyVocab) -> None:
    """Writes a vocabulary's keys."""
    writer.add_vocab_size(len(vocab.tokens))
    writer.add_tokenizer_model(vocab.model)
    writer.add_token_list(vocab.tokens)
    writer.add_token_types(vocab.types)
    if vocab.model == "gpt2":
        writer.add_tokenizer_pre(vocab.pre)
        writer.add_token_merges(vocab.merges)
    else:
        writer.add_token_scores([-float(i) for i in range(len(vocab.tokens))])
        writer.add_unk_token_id(0)
    if vocab.model == "bert" or vocab.add_sep:
        writer.add_sep_token_id(vocab.eos)
    if vocab.add_sep:
        writer.add_add_sep_token(vocab.add_sep)
    writer.add_bos_token_id(vocab.bos)
    writer.add_eos_token_id(vocab.eos)
    writer.add_add_bos_token(vocab.add_bos)
    writer.add_add_eos_token(vocab.add_eos)
    writer.add_add_space_prefix(vocab.add_space_prefix)


def finish(writer: GGUFWriter, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes tensors, header and file."""
    for name, value in weights.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
