"""What llama.cpp would abort the process on is refused with the reason, before it sees the file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gguf import GGUFValueType

from rewardshift import Decoder, ModelLoadError, quantize

from .support.mutate_gguf import STRING, GgufFile, Seed, Tensor, write_seeds

if TYPE_CHECKING:
    from collections.abc import Callable

U32, F32 = GGUFValueType.UINT32, GGUFValueType.FLOAT32
FUZZER = Path(__file__).with_name("fuzz_gguf.py")


def test_mutated_files_end_in_a_typed_error_or_a_working_model(tmp_path: Path) -> None:
    command = [sys.executable, FUZZER, "--n", "240", "--seed", "7", "--save", tmp_path / "failed"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "0 of 240 mutants" in process.stdout
    for outcome in ("working", "ModelLoadError"):
        assert outcome in process.stdout


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seed]:
    """Valid files by name."""
    return {seed.name: seed for seed in write_seeds(tmp_path_factory.mktemp("seeds"))}


def heads(file: GgufFile, n_embd: int, n_head: int, n_kv: int) -> None:
    """Heads of other sizes, with every tensor as it follows from them."""
    size = n_embd // n_head
    sizes = {"embedding_length": n_embd, "attention.head_count": n_head}
    sizes |= {"attention.head_count_kv": n_kv, "rope.dimension_count": size}
    for name, value in sizes.items():
        file.put(f"{file.architecture}.{name}", U32, value)
    for tensor in file.tensors:
        shape = [n_embd if length == 16 else length for length in tensor.shape]
        if b"attn_k." in tensor.name or b"attn_v." in tensor.name:
            shape[-1] = n_kv * size
        tensor.shape = shape
        tensor.data = bytes(4 * shape[0] * (shape[1] if len(shape) > 1 else 1))


def of(file: GgufFile, name: str) -> Tensor:
    """A tensor by its name."""
    return next(tensor for tensor in file.tensors if tensor.name == name.encode())


def retyped(file: GgufFile, name: str, kind: int, size: int) -> None:
    """Another type for a tensor, whose numbers take so many bytes each."""
    tensor = of(file, name)
    tensor.kind, tensor.data = kind, bytes(len(tensor.data) // 4 * size)


def token_type(file: GgufFile, token: int, kind: int) -> None:
    """Another type for a token."""
    entry = file.find("tokenizer.ggml.token_type")
    assert entry is not None
    entry.value[token] = kind


def stacked(file: GgufFile, name: str) -> None:
    """Two matrices for one."""
    tensor = of(file, name)
    tensor.shape, tensor.data = [*tensor.shape, 2], tensor.data * 2


def two_ranks(file: GgufFile) -> None:
    """Factors of the embedding that fit it, but not each other."""
    file.add("token_embd.weight.lora_a", 2, 24)
    file.add("token_embd.weight.lora_b", 3, 16)


def no_tokenizer(file: GgufFile, size: int) -> None:
    """Tokens without texts; llama.cpp makes as many as it is told."""
    file.put("tokenizer.ggml.model", STRING, b"none")
    file.put("llama.vocab_size", U32, size)


def narrow_keys(file: GgufFile, **sizes: int) -> None:
    """Keys and values of 8 numbers, by other hyper-parameters."""
    for name, value in sizes.items():
        file.put(f"{file.architecture}.attention.{name}", U32, value)
    for tensor in file.tensors:
        if b"attn_k." in tensor.name or b"attn_v." in tensor.name:
            tensor.shape[-1], tensor.data = 8, tensor.data[: len(tensor.data) // 2]


def fewer_keys(file: GgufFile) -> None:
    """Keys for one of two heads, and a norm for those of both."""
    narrow_keys(file, head_count_kv=1)
    file.add("blk.0.attn_k_norm.weight", 16)


def widened(file: GgufFile, rows: int) -> None:
    """More rows of a feed-forward network, and biases for them."""
    for name in ("blk.0.ffn_up.weight", "blk.0.ffn_up.bias"):
        tensor = of(file, name)
        tensor.shape[-1] = rows
        tensor.data = bytes(4 * rows * (tensor.shape[0] if len(tensor.shape) > 1 else 1))


def normed_in_one(file: GgufFile) -> None:
    """Queries and keys in one matrix, and norms for each."""
    for part in "qkv":
        file.tensors.remove(of(file, f"blk.0.attn_{part}.weight"))
    file.add("blk.0.attn_qkv.weight", 16, 48)
    file.add("blk.0.attn_q_norm.weight", 16)


PUT = GgufFile.put
WINDOWS = "olmo2.attention.sliding_window_pattern"
REFUSED: dict[str, tuple[str, Callable[[GgufFile], object], str]] = {
    "alignment": (
        *("qwen2", lambda f: PUT(f, "general.alignment", U32, 4)),
        "general.alignment is 4",
    ),
    "no layers": ("llama", lambda f: PUT(f, "llama.block_count", U32, 0), "block_count is 0"),
    "absurd layers": ("llama", lambda f: PUT(f, "llama.block_count", U32, 1 << 31), "block_count"),
    "only predictors": (
        *("llama", lambda f: PUT(f, "llama.nextn_predict_layers", U32, 2)),
        "nextn_predict_layers is 2",
    ),
    "odd heads": ("llama", lambda f: heads(f, 18, 2, 2), "rope.dimension_count is 9"),
    "stray heads": ("llama", lambda f: heads(f, 16, 4, 3), "head_count_kv is 3, .* divisor"),
    "heads unnamed": (  # divided by
        *("olmo2", lambda f: f.entries.remove(f.find("olmo2.attention.head_count"))),
        "no positive olmo2.attention.head_count",
    ),
    "no heads": ("qwen2", lambda f: heads(f, 16, 16, 0), "empty tensor"),
    "unequal heads": (
        *("qwen3", lambda f: PUT(f, "qwen3.attention.value_length", U32, 4)),
        "value_length is 4",
    ),
    "partly rotated": (
        *("qwen3", lambda f: PUT(f, "qwen3.rope.dimension_count", U32, 4)),
        "rope.dimension_count is 4",
    ),
    "not rotated at all": (  # never ends
        *("phi3", lambda f: PUT(f, "phi3.rope.dimension_count", U32, 0)),
        "rope.dimension_count is 0",
    ),
    "a window for no layer": (
        *("olmo2", lambda f: PUT(f, WINDOWS, GGUFValueType.BOOL, [0, 0], is_array=True)),
        f"no layer a window under {WINDOWS}",
    ),
    "a window for none of each one layer": (
        *("gemma2", lambda f: PUT(f, "gemma2.attention.sliding_window_pattern", U32, 1)),
        "no layer a window",
    ),
    "scaling": (
        *("phi3", lambda f: PUT(f, "phi3.rope.scaling.type", STRING, b"elastic")),
        "'elastic'",
    ),
    "epsilon": (
        *("llama", lambda f: PUT(f, "llama.attention.layer_norm_rms_epsilon", F32, -1.0)),
        "epsilon is -1",
    ),
    "not a number": (
        *("llama", lambda f: PUT(f, "llama.rope.freq_base", F32, float("nan"))),
        "freq_base is -?nan",
    ),
    "absurd experts": (
        *("mixtral", lambda f: PUT(f, "llama.expert_count", U32, 1025)),
        "expert_count is 1025",
    ),
    "more experts used than there are": (
        *("mixtral", lambda f: PUT(f, "llama.expert_used_count", U32, 5)),
        "expert_used_count is 5",
    ),
    "no experts used": (
        *("mixtral", lambda f: PUT(f, "llama.expert_used_count", U32, 0)),
        "expert_used_count is 0",
    ),
    "expert groups": (
        *("mixtral", lambda f: PUT(f, "llama.expert_group_count", U32, 3)),
        "expert_group_count is 3",
    ),
    "no context": (
        "llama",
        lambda f: PUT(f, "llama.context_length", U32, 0),
        "context_length is 0",
    ),
    "not causal": (
        *("llama", lambda f: PUT(f, "llama.attention.causal", GGUFValueType.BOOL, 0)),
        "no causal model",
    ),
    "integers to multiply": (
        *("olmo2", lambda f: retyped(f, "blk.0.attn_q.weight", 26, 4)),
        r"attn_q.weight' of type i32, which cannot be multiplied",
    ),
    "a norm in halves": (
        *("llama", lambda f: retyped(f, "output_norm.weight", 1, 2)),
        "output_norm.weight' of type f16",
    ),
    "no projections": (
        "phi3",
        lambda f: f.tensors.remove(of(f, "blk.1.attn_qkv.weight")),
        "layer 1",
    ),
    "no last token": (
        *("llama", lambda f: PUT(f, "tokenizer.ggml.model", STRING, b"bert")),
        "wants a token for the end",
    ),
    "bytes among word pieces": (
        *("llama-bytes", lambda f: PUT(f, "tokenizer.ggml.model", STRING, b"bert")),
        "token 3 .* a byte",
    ),
    "a byte that is none": ("llama-bytes", lambda f: token_type(f, 260, 6), "token 260 .* a byte"),
    "a tokenizer that never ends": (
        *("gemma2", lambda f: PUT(f, "tokenizer.ggml.model", STRING, b"rwkv")),
        "RWKV, a recurrent model",
    ),
    "a name in no alphabet": (
        *("llama", lambda f: PUT(f, "general.name", STRING, b"\xff\xfe")),
        "general.name that is not UTF-8",
    ),
    "dummy tokens": (
        "llama",
        lambda f: no_tokenizer(f, 1 << 31),
        "vocab_size is 2147483648, .* 24",
    ),
    "a kernel of one": (
        *("mamba", lambda f: PUT(f, "mamba.ssm.conv_kernel", U32, 1)),
        "ssm.conv_kernel is 1",
    ),
    "no kernel": (
        *("lfm2", lambda f: PUT(f, "lfm2.shortconv.l_cache", U32, 0)),
        "l_cache is 0, .* 2 and",
    ),
    "stray groups": (
        *("mamba2", lambda f: PUT(f, "mamba2.ssm.group_count", U32, 3)),
        r"group_count is 3, .* divisor of ssm.inner_size \(64\)",
    ),
    "a state of nothing": (
        *("falcon-h1", lambda f: PUT(f, "falcon-h1.ssm.state_size", U32, 0)),
        "state_size is 0",
    ),
    "another width inside": (
        *("jamba", lambda f: PUT(f, "jamba.ssm.inner_size", U32, 32)),
        "inner_size is 32, .* twice embedding_length",
    ),
    "unequal products": (
        *("qwen3next", lambda f: PUT(f, "qwen3next.ssm.inner_size", U32, 32)),
        r"inner_size is 32, .*\(64\)",
    ),
    "never attending": (  # divided by
        *("qwen35", lambda f: PUT(f, "qwen35.full_attention_interval", U32, 0)),
        "full_attention_interval is 0",
    ),
    "sections of more than a head": (
        *(
            "qwen35",
            lambda f: PUT(f, "qwen35.rope.dimension_sections", U32, [4, 4, 4, 4], is_array=True),
        ),
        "dimension_sections is 16",
    ),
    "half a register": (  # read beyond
        *("rwkv7", lambda f: PUT(f, "rwkv7.wkv.head_size", U32, 32)),
        "head_size is 32, .* multiple of 64",
    ),
    "one shift of tokens": (
        *("rwkv6", lambda f: PUT(f, "rwkv6.token_shift_count", U32, 1)),
        "token_shift_count is 1",
    ),
    "groups where there are none": (
        *("plamo2", lambda f: PUT(f, "plamo2.ssm.group_count", U32, 2)),
        "group_count is 2",
    ),
    "keys of another size than stored": (
        *("kimi-linear", lambda f: PUT(f, "kimi-linear.attention.key_length", U32, 16)),
        r"key_length is 16, .*\(12\)",
    ),
    "keys of no size": (
        *("kimi-linear", lambda f: f.entries.remove(f.find("kimi-linear.attention.key_length"))),
        r"key_length is 0, .*\(12\)",
    ),
    "a convolution in halves": (
        *("granitehybrid", lambda f: retyped(f, "blk.0.ssm_conv1d.weight", 1, 2)),
        "ssm_conv1d.weight' of type f16",
    ),
    "heads that differ by layer": (
        *("bert", lambda f: PUT(f, "bert.attention.head_count", U32, [2, 1], is_array=True)),
        "head_count and head_count_kv are not the same number in all layers",
    ),
    "an encoder's shared keys": ("jina-bert-v2", fewer_keys, "are not the same number"),
    "an encoder's small heads": (
        *("bert", lambda f: narrow_keys(f, key_length=4, value_length=4)),
        r"head_count is 2, .* make up embedding_length \(16\)",
    ),
    "a window for every layer": (
        *("modern-bert", lambda f: PUT(f, "modern-bert.attention.sliding_window_pattern", U32, 0)),
        "gives every layer a window",
    ),
    "a flag for every layer": (
        *(
            "modern-bert",
            lambda f: PUT(
                f,
                "modern-bert.attention.sliding_window_pattern",
                GGUFValueType.BOOL,
                [1, 1],
                is_array=True,
            ),
        ),
        "gives every layer a window",
    ),
    "gates of an activation that has none": (
        *("modern-bert", lambda f: PUT(f, "modern-bert.hidden_activation", STRING, b"relu")),
        "hidden_activation is 'relu'",
    ),
    "labels for one output": (
        *(
            "jina-bert-v2",
            lambda f: PUT(
                f, "jina-bert-v2.classifier.output_labels", STRING, [b"a", b"b"], is_array=True
            ),
        ),
        "names 2 outputs of a head that has one",
    ),
    "a stray width": ("jina-bert-v2", lambda f: widened(f, 40), "ffn_up.weight' of 40 rows"),
    "gates twice": ("jina-bert-v2", lambda f: widened(f, 64), "ffn_up.weight' of 64 rows"),
    "norms for parts of a matrix": ("jina-bert-v2", normed_in_one, "in one matrix in layer 0"),
    "states of another width": (
        *("bert", lambda f: PUT(f, "bert.embedding_length_out", U32, 1 << 30)),
        "embedding_length_out is 1073741824",
    ),
    "segments in halves": (
        *("bert", lambda f: retyped(f, "token_types.weight", 1, 2)),
        "token_types.weight' of type f16",
    ),
    "no separator": (
        *("bert", lambda f: f.entries.remove(f.find("tokenizer.ggml.seperator_token_id"))),
        "wants a token for the end",
    ),
    "a delta net without projections": (
        *("qwen35moe", lambda f: f.drop("attn_qkv")),
        "has no blk.0.attn_qkv.weight, which its state is made of",
    ),
    "a delta net without a gate": (
        *("qwen3next", lambda f: f.drop("attn_gate")),
        "has no blk.0.attn_gate.weight, which its state is made of",
    ),
    "an adapter's numbered type": (
        *("llama-lora", lambda f: PUT(f, "general.type", U32, 3)),
        "no text under general.type",
    ),
    "an adapter's alpha in words": (
        *("llama-lora", lambda f: PUT(f, "adapter.lora.alpha", STRING, b"4")),
        "adapter.lora.alpha is no finite number",
    ),
    "an adapter of integers": (
        *("llama-lora", lambda f: retyped(f, "blk.0.attn_q.weight.lora_a", 26, 4)),
        "lora_a' of type i32",
    ),
    "an adapter of stacks": (
        *("llama-lora", lambda f: stacked(f, "blk.0.attn_q.weight.lora_a")),
        "should be 1 matrices each",
    ),
    "an adapter of two ranks": ("llama-lora", two_ranks, "the ranks 2 and 3"),
    "an adapter for a model": (
        "llama",
        lambda f: PUT(f, "general.type", STRING, b"adapter"),
        "adapter",
    ),
}


ATTEMPTS = """
import json, os, sys
from rewardshift import Decoder, ModelLoadError
for path, base in json.loads(sys.stdin.read()):
    if os.fork() == 0:
        try:
            roles, lora = ([path], None) if base is None else ([base, base], path)
            decoder = Decoder(*roles, draft_lora=lora, n_threads=1, n_ctx=64)
            decoder.tokenize("ab")
            decoder.generate([1, 3], max_tokens=2)
        except ModelLoadError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
    print("--", flush=True)
"""
"""Tries files, each in a process of its own, and prints why they are refused: one that is not, or
whose process dies of it, says nothing."""


@pytest.fixture(scope="module")
def refusals(seeds: dict[str, Seed], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Why each of the altered files is refused."""
    folder = tmp_path_factory.mktemp("altered")
    attempts = []
    for number, (name, alter, _) in enumerate(REFUSED.values()):
        file = GgufFile.parse(seeds[name].content)
        alter(file)
        path = folder / f"{number}.gguf"
        path.write_bytes(bytes(file))
        base = seeds[name].base
        attempts.append((str(path), None if base is None else str(base)))
    command = [sys.executable, "-c", ATTEMPTS]
    process = subprocess.run(
        command, input=json.dumps(attempts), capture_output=True, text=True, timeout=300, check=True
    )
    *said, rest = process.stdout.split("--\n")
    assert not rest
    return dict(zip(REFUSED, said, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_what_llama_cpp_would_abort_on_is_refused_with_the_reason(
    refusals: dict[str, str], name: str
) -> None:
    assert re.search(rf"\d+\.gguf .*{REFUSED[name][2]}", refusals[name])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("deepseek4", "arwkv7", "kimi-k3"), "is a .*recurrent model of a kind .*rejected draft"),
        (("dream", "llada"), "is a diffusion model"),
        (("t5", "clip"), "is not a decoder-only language model"),
        (("nomic-bert", "eurobert"), "llama.cpp reads no classification head of"),
        (("bert", "modern-bert"), r"is an encoder without a .* head \(cls.output.weight\)"),
        (("jina-bert-v2",), r"is an encoder without a classification head \(cls.weight\)"),
    ],
)
def test_what_cannot_be_decoded_with_is_refused_with_the_reason(
    seeds: dict[str, Seed], tmp_path: Path, names: tuple[str, ...], reason: str
) -> None:
    """Whatever else its file holds: llama.cpp asserts while it loads these."""
    file = GgufFile.parse(seeds["llama"].content)
    path = tmp_path / "altered.gguf"
    for name in names:
        file.rename_architecture(name)
        path.write_bytes(bytes(file))
        with pytest.raises(ModelLoadError, match=reason):
            Decoder(path)


def test_quantising_takes_the_same_look(seeds: dict[str, Seed], tmp_path: Path) -> None:
    file = GgufFile.parse(seeds["llama"].content)
    file.put("llama.block_count", U32, 0)
    path = tmp_path / "altered.gguf"
    path.write_bytes(bytes(file))
    with pytest.raises(ModelLoadError, match="block_count is 0"):
        quantize(path, tmp_path / "out.gguf", "F16")
