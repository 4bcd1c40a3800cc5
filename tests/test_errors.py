"""Whatever is wrong is an exception that says what, and never the end of the process."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import (
    ChatTemplateError,
    ContextOverflowError,
    Decoder,
    Error,
    EvaluationError,
    ModelLoadError,
    OutOfMemoryError,
    VocabularyMismatchError,
)
from tests.support import enumerate_law as oracle
from tests.support import numpy_forward
from tests.support.engine import EXACT, run_python
from tests.support.mutate_gguf import GgufFile
from tests.support.tiny_gguf import bpe_vocab, spm_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Files

PREAMBLE = """
    import sys
    from pathlib import Path
    from support.tiny_gguf import *
    import rewardshift
    folder = Path({folder!r})
    options = {{"n_threads": 1, "n_ctx": 64}}

    def model(name="model", **spec):
        return write_model(folder / f"{{name}}.gguf", TinySpec(**spec)).path

    try:
        {attempt}
        print("no error")
    except BaseException as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def survivor(tmp_path: Path) -> Callable[..., str]:
    """What a statement raises in a process of its own, which must not die of it."""

    def run(attempt: str, *, timeout: float = 30) -> str:
        code = PREAMBLE.format(folder=str(tmp_path), attempt=attempt)
        process = run_python(code, timeout=timeout)
        assert process.returncode == 0, process.stderr[-2000:]
        return process.stdout.strip()

    return run


@pytest.fixture
def decoder(files: Files) -> Iterator[Decoder]:
    """All three roles, tiny."""
    with Decoder(*(m.path for m in files.trio()), **EXACT) as made:
        yield made


# --- files -------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"nowhere\.gguf: no such file"):
        Decoder(tmp_path / "nowhere.gguf")


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="is a directory"):
        Decoder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GG", b"not a model at all", b"PK\x03\x04" * 100])
def test_another_file_is_no_gguf(new_file: Callable[[bytes], Path], content: bytes) -> None:
    with pytest.raises(ModelLoadError, match="is not a GGUF file"):
        Decoder(new_file(content))


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(
    files: Files, new_file: Callable[[bytes], Path], share: float
) -> None:
    whole = files.model().path.read_bytes()
    path = new_file(whole[: max(5, int(len(whole) * share))])
    with pytest.raises(ModelLoadError, match=f"{path.name}.* cannot be loaded: .+"):
        Decoder(path)


def test_an_adapter_is_no_model(files: Files, tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "lora.gguf", files.model())
    with pytest.raises(ModelLoadError, match=r"lora\.gguf cannot be loaded"):
        Decoder(lora.path)


def test_a_model_is_no_adapter(files: Files) -> None:
    path = files.model().path
    with pytest.raises(ModelLoadError, match="is no LoRA adapter"):
        Decoder(path, path, draft_lora=path)


@pytest.mark.parametrize(
    "base", [{"n_embd": 64}, {"arch": "qwen2"}, {"n_layer": 3}], ids=["width", "arch", "layers"]
)
def test_an_adapter_of_another_base_is_refused(
    files: Files, tmp_path: Path, base: dict[str, Any]
) -> None:
    lora = write_lora(tmp_path / "lora.gguf", files.model(**base))
    path = files.model().path
    with pytest.raises(ModelLoadError, match=r"lora\.gguf is no LoRA adapter for .*: .+"):
        Decoder(path, path, draft_lora=lora.path)


def test_a_missing_adapter_is_named(files: Files, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"none\.gguf: no such file"):
        Decoder(files.model().path, files.model().path, draft_lora=tmp_path / "none.gguf")


def test_an_adapter_needs_a_model_to_adapt(files: Files, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="draft_lora needs a draft or a reference"):
        Decoder(files.model().path, draft_lora=tmp_path / "lora.gguf")


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_the_scale_of_an_adapter_is_finite(files: Files, tmp_path: Path, scale: float) -> None:
    lora, path = write_lora(tmp_path / "lora.gguf", files.model()), files.model().path
    with pytest.raises(ValueError, match=f"draft_lora_scale .*{scale}"):
        Decoder(path, path, draft_lora=lora.path, draft_lora_scale=scale)


def test_a_memory_that_cannot_be_taken_back_is_refused_with_the_reason(
    files: Files, new_file: Callable[[bytes], Path]
) -> None:
    file = GgufFile.parse(files.model().path.read_bytes())
    file.rename_architecture("deepseek4")
    path = new_file(bytes(file))
    with pytest.raises(ModelLoadError, match=r"\.gguf is a .*recurrent model .*rejected draft"):
        Decoder(path)
    with pytest.raises(ModelLoadError, match="recurrent"):
        Decoder(files.model().path, path)


def test_a_vocabulary_that_lists_a_token_twice_is_refused(survivor: Callable[..., str]) -> None:
    said = survivor('rewardshift.Decoder(model(vocab=spm_vocab().renamed(5, "a")), **options)')
    assert said.startswith("ModelLoadError")
    assert "'a'" in said


# --- vocabularies ------------------------------------------------------------------------------


def test_the_first_differing_token_is_named_in_both_models(files: Files) -> None:
    other = files.model(vocab=spm_vocab().renamed(9, "zz").renamed(11, "yy"))
    with pytest.raises(VocabularyMismatchError, match=r"token 9 is ' a' in .* 'zz' in the ref"):
        Decoder(files.model().path, files.model(seed=1).path, other.path, **EXACT)
    with pytest.raises(VocabularyMismatchError, match=r"token 9 is 'zz' in the draft .* ' a' in"):
        Decoder(files.model().path, other.path, files.model(seed=1).path, **EXACT)


def test_a_differing_token_that_is_no_utf8_can_be_named(files: Files) -> None:
    vocab = bpe_vocab()
    byte = vocab.tokens.index("\u0122")  # GPT-2's stand-in for byte 0x80
    target, draft = files.model(vocab=vocab), files.model(vocab=vocab.renamed(byte, "zz"))
    with pytest.raises(VocabularyMismatchError, match=f"token {byte} is .*'zz' in the draft"):
        Decoder(target.path, draft.path, target.path, **EXACT)


@pytest.mark.parametrize("padding", [1, 128])
def test_padding_is_tolerated(files: Files, padding: int) -> None:
    padded = files.model(vocab=spm_vocab().padded(padding))
    for roles in ([files.model(), padded], [padded, files.model()]):
        with Decoder(*(m.path for m in roles), **EXACT) as decoder:
            assert decoder.vocab_size == 12
            decoder.generate([1, 3], max_tokens=3, seed=0)


def test_more_than_padding_is_not(files: Files) -> None:
    padded = files.model(vocab=spm_vocab().padded(129))
    with pytest.raises(VocabularyMismatchError, match="12 and 141 tokens"):
        Decoder(files.model().path, files.model(seed=1).path, padded.path, **EXACT)


@pytest.mark.statistical
@pytest.mark.parametrize("which", ["target", "draft", "reference"])
def test_ids_that_a_role_lacks_are_never_sampled(files: Files, which: str) -> None:
    """The others' padding has weight; the law is that of the shared ids alone."""
    names = ("target", "draft", "reference")
    padded, plain = spm_vocab().padded(30), spm_vocab()
    models = [
        files.model(vocab=plain if name == which else padded, noise=0.3, noise_seed=i)
        for i, name in enumerate(names)
    ]
    logits = [numpy_forward.logits(m, [1, 3])[-1][: len(plain.tokens)] for m in models]
    law = {(t,): p for t, p in enumerate(oracle.goal(*logits))}
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        completions = decoder.generate_batch(
            [[1, 3]] * 2000, max_tokens=1, temperature=1.0, seed=5, deterministic=False
        )
        with pytest.raises(ValueError, match=r"12.*outside the vocabulary \[0, 12\)"):
            decoder.generate([12])
    counts: dict[tuple[int, ...], int] = {}
    for completion in completions:
        counts[completion.tokens] = counts.get(completion.tokens, 0) + 1
    assert oracle.chi_square(counts, law, 2000) > 1e-8


# --- roles -------------------------------------------------------------------------------------


def test_a_reference_needs_a_draft(files: Files) -> None:
    path = files.model().path
    with pytest.raises(ValueError, match="a reference needs a draft"):
        Decoder(path, reference=path)


@pytest.mark.parametrize("roles", [1, 2])
def test_a_strength_that_the_roles_cannot_serve_is_refused(files: Files, roles: int) -> None:
    with Decoder(*[files.model().path] * roles, **EXACT) as decoder:
        with pytest.raises(ValueError, match=r"strength 0\.5 needs a draft and a reference"):
            decoder.generate([1, 3], strength=0.5)
        assert decoder.generate([1, 3], strength=0.0, max_tokens=1).steps


def test_drafting_needs_a_draft(files: Files) -> None:
    with (
        Decoder(files.model().path, **EXACT) as decoder,
        pytest.raises(ValueError, match="num_draft_tokens needs a draft"),
    ):
        decoder.generate([1, 3], num_draft_tokens=2)


# --- prompts -----------------------------------------------------------------------------------


def test_a_prompt_that_fills_the_context_says_how_much_room_there_is(files: Files) -> None:
    with Decoder(files.model().path, **{**EXACT, "n_ctx": 40}) as decoder:
        for length in (40, 55):
            with pytest.raises(ContextOverflowError, match=f"{length + 1}.* 40 ") as caught:
                decoder.generate([3] * length)
            assert (caught.value.needed, caught.value.available) == (length + 1, 40)
        completion = decoder.generate([3] * 39, logit_bias={2: -50})
        assert (len(completion.steps), completion.finish_reason) == (1, "length")


def test_the_longest_of_three_prompts_counts(files: Files) -> None:
    with Decoder(*[files.model().path] * 3, **{**EXACT, "n_ctx": 40}) as decoder:
        with pytest.raises(ContextOverflowError) as caught:
            decoder.generate([3], draft_prompt=[3] * 44)
        assert caught.value.needed == 45


def test_a_continuation_too_long_to_score_is_an_overflow(files: Files) -> None:
    with Decoder(files.model().path, **{**EXACT, "n_ctx": 40}) as decoder:
        with pytest.raises(ContextOverflowError) as caught:
            decoder.score([3] * 20, [4] * 30)
        assert (caught.value.needed, caught.value.available) == (50, 40)


def test_an_empty_prompt_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        decoder.generate([])


@pytest.mark.parametrize("token", [-1, 12, 2**31, 2**40])
def test_a_token_outside_the_vocabulary_is_named(decoder: Decoder, token: int) -> None:
    with pytest.raises(ValueError, match=str(token)):
        decoder.generate([1, token])
    with pytest.raises(ValueError, match=str(token)):
        decoder.generate([1, 3], draft_prompt=[token])
    with pytest.raises(ValueError, match=str(token)):
        decoder.score([1, 3], [3, token])
    with pytest.raises(ValueError, match=str(token)):
        decoder.detokenize([token])


@pytest.mark.parametrize("prompt", [None, 3, 1.5, [None], ["a"], [[1]], {"role": "user"}])
def test_what_is_no_prompt_is_a_type_error(decoder: Decoder, prompt: Any) -> None:
    with pytest.raises(TypeError, match="prompt"):
        decoder.generate(prompt)


def test_numpy_arrays_are_prompts(decoder: Decoder) -> None:
    options: dict[str, Any] = {"temperature": 0.0, "max_tokens": 4}
    by_array = decoder.generate(np.array([1, 3]), draft_prompt=np.array([1, 4]), **options)
    assert by_array.tokens == decoder.generate([1, 3], draft_prompt=[1, 4], **options).tokens


def test_prompts_of_a_batch_come_in_pairs(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="draft_prompts has 1 prompts for 2 requests"):
        decoder.generate_batch([[1], [1]], draft_prompts=[[1]])


def test_one_bad_prompt_of_a_batch_leaves_nothing_behind(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="99"):
        decoder.generate_batch([[1, 3], [99]])
    decoder.generate([1, 3], max_tokens=2)
    assert not decoder.has_work


# --- options -----------------------------------------------------------------------------------

WRONG_VALUES: dict[str, tuple[object, ...]] = {
    "max_tokens": (-2,),
    "temperature": (-0.5, float("nan"), float("inf")),
    "top_k": (-1,),
    "top_p": (0.0, 1.5, -0.25, float("nan")),
    "min_p": (-0.5, 1.5, float("nan")),
    "repeat_penalty": (0.0, -1.0, float("inf"), float("nan")),
    "frequency_penalty": (float("nan"), float("inf")),
    "presence_penalty": (float("nan"), float("-inf")),
    "penalty_last_n": (-2,),
    "strength": (float("nan"), float("inf")),
    "rule": ("exakt", ""),
    "num_draft_tokens": (-1, 65),
    "top_logprobs": (-1, 13),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, v) for name, values in WRONG_VALUES.items() for v in values]
)
def test_a_sampling_option_out_of_range_is_named_with_its_value(
    decoder: Decoder, name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*{str(value).removesuffix('.0')}"):
        decoder.generate([1, 3], **{name: value})
    assert not decoder.has_work


@pytest.mark.parametrize("bias", [{12: 1.0}, {-1: 1.0}, {3: float("nan")}, {3: float("inf")}])
def test_a_bias_out_of_range_is_refused(decoder: Decoder, bias: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="logit_bias must be"):
        decoder.generate([1, 3], logit_bias=bias)


def test_a_bias_that_forbids_everything_is_an_error(decoder: Decoder) -> None:
    forbid = dict.fromkeys(range(12), float("-inf"))
    with pytest.raises(EvaluationError, match="no token is possible at position 2"):
        decoder.generate([1, 3], logit_bias=forbid)
    assert decoder.generate([1, 3], max_tokens=1).steps


def test_an_empty_stop_string_is_refused(decoder: Decoder) -> None:
    for stop in ("", ["ab", ""]):
        with pytest.raises(ValueError, match="stop must be"):
            decoder.generate([1, 3], stop=stop)


def test_rule_speculative_takes_no_strength(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match=r"strength .*speculative.*, not 0\.5"):
        decoder.generate([1, 3], rule="speculative", strength=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", "many"),
        ("max_tokens", 1.5),
        ("temperature", "hot"),
        ("top_k", None),
        ("strength", "strong"),
        ("rule", 3),
        ("num_draft_tokens", 2.5),
        ("seed", -2),
        ("seed", 2**64),
        ("seed", "lucky"),
        ("stop", 3),
        ("logit_bias", 3),
    ],
)
def test_a_sampling_option_of_the_wrong_type_is_named(
    decoder: Decoder, name: str, value: object
) -> None:
    with pytest.raises(TypeError, match=name):
        decoder.generate([1, 3], **{name: value})


@pytest.mark.parametrize("name", ["temprature", "n_ctx", "stream"])
def test_an_unknown_sampling_option_is_a_type_error(decoder: Decoder, name: str) -> None:
    for call in (decoder.generate, decoder.submit, decoder.stream):
        with pytest.raises(TypeError, match=f"{name}.*max_tokens"):
            call([1, 3], **{name: 1})


def test_an_unknown_loading_option_is_a_type_error(files: Files) -> None:
    with pytest.raises(TypeError, match=r"n_context.*n_ctx.*use_mmap"):
        Decoder(files.model().path, n_context=64)


WRONG_LOADING: dict[str, tuple[object, ...]] = {
    "n_ctx": (-1, -(2**31)),
    "n_batch": (0, -5),
    "n_ubatch": (0, -5),
    "n_seq_max": (0, -1, 256, 100000),
    "n_threads": (-1, 513, 100000),
    "n_threads_batch": (-1, 513, 100000),
    "poll": (-1, 101),
    "cache_ram": (-1, -1024),
    "type_k": ("f17", "", "i8", "q8_K"),
    "type_v": ("f17", "i32", "q8_1"),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, v) for name, values in WRONG_LOADING.items() for v in values]
)
def test_a_loading_option_out_of_range_is_named_with_its_value(
    survivor: Callable[..., str], name: str, value: object
) -> None:
    said = survivor(
        f"rewardshift.Decoder(model(n_embd=1024), **{{**options, {name!r}: {value!r}}})"
    )
    assert said.startswith(f"ValueError {name} must be"), said
    assert str(value) in said


@pytest.mark.parametrize(
    ("name", "value"), [("n_ctx", "big"), ("n_ctx", 1.5), ("use_mmap", 3), ("type_k", 8)]
)
def test_a_loading_option_of_the_wrong_type_is_named(
    files: Files, name: str, value: object
) -> None:
    with pytest.raises(TypeError, match=f"{name} cannot be {value!r}"):
        Decoder(files.model().path, **{name: value})


@pytest.mark.parametrize(
    "type_k",
    ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "bf16", "iq4_nl", "q4_K", "iq2_xxs", "tq1_0"],
)
def test_a_cache_type_works_or_is_refused(survivor: Callable[..., str], type_k: str) -> None:
    said = survivor(
        "rewardshift.Decoder(model(n_embd=1024, n_layer=1), **options, "
        f'type_k="{type_k}").generate([1, 3], max_tokens=3)'
    )
    assert said == "no error" or said.startswith("ValueError type_k"), said


def test_cache_types_that_do_not_fit_the_model_are_no_lack_of_memory(files: Files) -> None:
    path = files.model().path  # heads of 8 values; blocks have 32
    with pytest.raises(ValueError, match="q8_0"):
        Decoder(path, n_ctx=64, n_threads=1, type_k="q8_0")
    path = files.model(n_embd=128).path
    with pytest.raises(ValueError, match="flash"):
        Decoder(path, n_ctx=64, n_threads=1, type_v="q8_0", flash_attn=False)


@pytest.mark.parametrize("n_ctx", [3 * 10**8, 2**31 - 1])
def test_a_context_larger_than_memory_says_how_many_bytes_it_needs(
    files: Files, n_ctx: int
) -> None:
    path = files.model(n_ctx_train=2**31 - 1).path
    with pytest.raises(OutOfMemoryError, match=rf"n_ctx {n_ctx} needs \d+ bytes") as caught:
        Decoder(path, n_ctx=n_ctx, n_threads=1)
    assert caught.value.bytes >= n_ctx * 2 * 32 * 2
    Decoder(path, **EXACT).close()


def test_compute_buffers_larger_than_memory_are_an_error_too(survivor: Callable[..., str]) -> None:
    said = survivor(
        "rewardshift.Decoder("
        "model(), n_threads=1, n_ctx=2**20, n_batch=2**20, n_ubatch=2**20, flash_attn=False)"
    )
    assert said.startswith("OutOfMemoryError")


@pytest.mark.parametrize(
    "extreme",
    [{"strength": s} for s in (500.0, -500.0)] + [{"temperature": t} for t in (1e-6, 1e6)],
)
def test_extreme_values_give_a_result(decoder: Decoder, extreme: dict[str, float]) -> None:
    assert decoder.generate([1, 3], max_tokens=5, seed=0, **extreme).statistics.z is not None


@pytest.mark.parametrize(
    "absurd", [{"strength": 1e300}, {"temperature": 1e-300}, {"temperature": 1e300}]
)
def test_absurd_values_give_a_result_or_a_typed_error(
    decoder: Decoder, absurd: dict[str, float]
) -> None:
    with contextlib.suppress(EvaluationError):
        assert decoder.generate([1, 3], max_tokens=5, seed=0, **absurd).steps
    assert decoder.generate([1, 3], max_tokens=5, seed=0).steps


# --- models that misbehave ---------------------------------------------------------------------


@pytest.mark.parametrize("role", ["target", "draft", "reference"])
@pytest.mark.parametrize("k", [0, 3])
def test_logits_that_are_no_distribution_name_role_and_position(
    files: Files, role: str, k: int
) -> None:
    names = ("target", "draft", "reference")
    paths = [files.model(nan_output=5 if name == role else None).path for name in names]
    with Decoder(*paths, **EXACT) as decoder:
        with pytest.raises(EvaluationError, match=f"the {role}'s logits at position 3"):
            decoder.generate([1, 3, 4], num_draft_tokens=k)
        with pytest.raises(EvaluationError, match=f"the {role}'s logits at position 3"):
            decoder.score([1, 3, 4], [3])
        assert not decoder.has_work


# --- text --------------------------------------------------------------------------------------


def test_text_that_the_vocabulary_cannot_spell_is_refused(decoder: Decoder) -> None:
    for text in ("abx", "a\u20ac", "\U0001f600"):
        with pytest.raises(ValueError, match=r"no token for byte \d"):
            decoder.generate(text)
    assert decoder.tokenize("ab cd") == [1, *decoder.tokenize("ab cd", add_special=False)]
    assert decoder.detokenize(decoder.tokenize("cab a")) == "cab a"


def test_text_that_is_no_unicode_is_refused(decoder: Decoder) -> None:
    with pytest.raises((TypeError, ValueError)):
        decoder.generate("a\ud800")


def test_a_model_without_a_chat_template_says_so(decoder: Decoder) -> None:
    with pytest.raises(ChatTemplateError, match=r"\.gguf has no chat template"):
        decoder.chat([{"role": "user", "content": "a"}])


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if %}", "not valid"),
        ("{{ messages[7].content }}", "cannot render"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_fails_says_why(files: Files, template: str, said: str) -> None:
    with (
        Decoder(files.model(chat_template=template).path, **EXACT) as decoder,
        pytest.raises(ChatTemplateError, match=said),
    ):
        decoder.chat([{"role": "user", "content": "a"}])


# --- life and threads --------------------------------------------------------------------------


def test_a_closed_decoder_says_so(files: Files) -> None:
    decoder = Decoder(files.model().path, **EXACT)
    decoder.close()
    decoder.close()
    calls: list[Callable[[], object]] = [
        lambda: decoder.generate([1, 3]),
        lambda: decoder.generate("ab"),
        lambda: decoder.stream([1, 3]),
        lambda: decoder.score([1, 3], [4]),
        lambda: decoder.tokenize("a"),
        lambda: decoder.detokenize([3]),
        lambda: decoder.chat([{"role": "user", "content": "a"}]),
        lambda: decoder.vocab_size,
        lambda: decoder.context_size,
        lambda: decoder.has_work,
        lambda: decoder.cancel(0),
        decoder.step,
    ]
    for call in calls:
        with pytest.raises(Error, match="this Decoder is closed"):
            call()


def test_a_stream_whose_decoder_was_closed_says_so(files: Files) -> None:
    decoder = Decoder(files.model().path, **EXACT)
    chunks = decoder.stream([1, 3], max_tokens=50, logit_bias={2: -50})
    next(chunks)
    decoder.close()
    with pytest.raises(Error, match="closed"):
        list(chunks)


def test_a_second_thread_gets_an_error_while_the_first_goes_on(files: Files) -> None:
    model = files.model(n_embd=256, n_ff=1024, n_layer=4, n_ctx_train=4096)
    done = threading.Event()
    with Decoder(model.path, n_ctx=4096, n_threads=1) as decoder:
        result: list[object] = []

        def first() -> None:
            try:
                result.append(decoder.score([3] * 3500, [4]))
            finally:
                done.set()

        thread = threading.Thread(target=first)
        thread.start()
        refused: list[str] = []
        while not done.is_set():
            try:
                decoder.submit([1, 3], max_tokens=1)
            except Error as error:
                refused.append(str(error))
            time.sleep(0.005)
        thread.join()
        assert refused
        assert all("in use by another thread" in message for message in refused)
        assert len(result) == 1


def test_threads_that_share_a_decoder_end_with_results_or_errors(
    survivor: Callable[..., str],
) -> None:
    """Never with a hang, a crash, or the text of another."""
    attempt = """
import threading
        decoder = rewardshift.Decoder(model(), **options)
        settings = {"max_tokens": 4, "temperature": 0.0}
        right = {i: decoder.generate([1, 3 + i], **settings).tokens for i in range(3)}
        wrong = []
        def work(i):
            for _ in range(20):
                try:
                    if decoder.generate([1, 3 + i], **settings).tokens != right[i]:
                        wrong.append(i)
                except rewardshift.Error:
                    pass
                except BaseException as error:
                    wrong.append(repr(error))
        threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(3)]
        [thread.start() for thread in threads]
        [thread.join(20) for thread in threads]
        print(wrong, any(thread.is_alive() for thread in threads))
    """
    assert survivor(attempt.strip()).startswith("[] False")
