"""Text in and out: tokens, partial characters, chat templates, stop strings, logs, progress."""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import ChatTemplate, ChatTemplateError, Decoder
from tests.support import precision
from tests.support.engine import EXACT, SANITIZED, run_python
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinySpec, TinyVocab, bpe_vocab, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Files

VOCABULARIES: dict[str, TinyVocab] = {
    "spm-bytes": spm_vocab(300, byte_tokens=True),
    "spm-space": spm_vocab(300, byte_tokens=True, add_space_prefix=True),
    "bpe": bpe_vocab(),
}


BPE: dict[str, Any] = {"vocab": bpe_vocab(), "scale": 0.3, "chat_template": CHATML_TEMPLATE}


@pytest.fixture(scope="module", params=sorted(VOCABULARIES))
def any_text(request: pytest.FixtureRequest, files: Files) -> Iterator[Decoder]:
    """A decoder whose vocabulary can spell any text."""
    with Decoder(files.model(vocab=VOCABULARIES[request.param]).path, **EXACT) as decoder:
        yield decoder


@pytest.fixture(scope="module")
def bpe(files: Files) -> Iterator[Decoder]:
    """A decoder that emits bytes: its text is full of partial and broken characters."""
    trio = files.trio(**BPE)
    with Decoder(*(m.path for m in trio), **{**EXACT, "n_ctx": 1024}) as decoder:
        yield decoder


# --- tokens ------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\u2581\0"), max_size=30))
def test_detokenize_undoes_tokenize(any_text: Decoder, text: str) -> None:
    tokens = any_text.tokenize(text, add_special=False, parse_special=False)
    assert any_text.detokenize(tokens) in (text, " " + text)  # some tokenizers add a space


def test_special_tokens_are_added_and_parsed_when_asked(bpe: Decoder, files: Files) -> None:
    assert bpe.tokenize("<|im_start|>ab", add_special=False)[0] == 1
    assert bpe.tokenize("<|im_start|>ab", add_special=False, parse_special=False)[0] != 1
    with Decoder(files.model().path, **EXACT) as spm:
        assert spm.tokenize("ab")[0] == 1
        assert spm.tokenize("ab", add_special=False)[0] != 1


@pytest.mark.skipif(SANITIZED, reason="its frames are several times as large")
@pytest.mark.parametrize("pre", ["tekken", "gpt-4o", "deepseek-llm", "falcon"])
def test_a_long_run_of_one_kind_of_character_is_a_text_like_others(pre: str) -> None:
    """llama.cpp's splitting recurses for each of them: a stack that is overrun ends a process."""
    process = run_python(
        f"""
        import tempfile
        from pathlib import Path
        from rewardshift import Decoder
        from support.tiny_gguf import TinySpec, bpe_vocab, write_model

        with tempfile.TemporaryDirectory() as folder:
            spec = TinySpec(vocab=bpe_vocab(pre={pre!r}))
            path = write_model(Path(folder) / "a.gguf", spec).path
            with Decoder(path, n_ctx=64, n_threads=1, progress=False) as decoder:
                for text in ("a", "!", "\\n", "\u4e2d", "1"):
                    print(decoder.detokenize(decoder.tokenize(text * 40_000)) == text * 40_000)
        """
    )
    assert process.stdout.split() == ["True"] * 5, process.stderr


def test_other_threads_go_on_while_a_text_is_read(bpe: Decoder) -> None:
    reading = threading.Thread(target=bpe.tokenize, args=("ab 12 " * 100_000,))
    reading.start()
    moments = 0
    while reading.is_alive():
        moments += 1
        time.sleep(0)
    assert moments > 10


def test_control_tokens_show_only_when_asked(bpe: Decoder) -> None:
    tokens = [1, *bpe.tokenize("ab"), 2]
    assert bpe.detokenize(tokens) == "ab"
    assert bpe.detokenize(tokens, special=True) == "<|im_start|>ab<|im_end|>"


def test_half_a_character_shows_as_a_replacement(bpe: Decoder) -> None:
    euro = bpe.tokenize("\u20ac")
    assert len(euro) == 3
    assert bpe.detokenize(euro) == "\u20ac"
    assert bpe.detokenize(euro[:2]) == "\ufffd"


def test_text_and_its_ids_are_the_same_prompt(bpe: Decoder) -> None:
    options: dict[str, Any] = {"temperature": 0.0, "max_tokens": 8}
    assert bpe.generate("ab cd", **options).tokens == (
        bpe.generate(bpe.tokenize("ab cd"), **options).tokens
    )


# --- text as it grows --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [0, 3])
def test_stream_is_generate_in_pieces(bpe: Decoder, seed: int, k: int) -> None:
    options: dict[str, Any] = {
        "seed": seed,
        "max_tokens": 60,
        "num_draft_tokens": k,
        "stop": ["b\u20ac", "zz"],
    }
    whole = bpe.generate("ab", **options)
    chunks = list(bpe.stream("ab", **options))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert tuple(t.id for chunk in chunks for t in chunk.tokens) == whole.tokens
    assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].completion.text == whole.text


def test_chunks_hold_whole_characters(bpe: Decoder) -> None:
    seen = 0
    for seed in range(6):
        text = ""
        for chunk in bpe.stream("ab", seed=seed, max_tokens=80, num_draft_tokens=0):
            seen += not chunk.text and any(token.text for token in chunk.tokens)
            text += chunk.text
        whole = bpe.detokenize([t.id for t in chunk.completion.steps])
        assert text == whole
    assert seen  # some chunk was held back for the rest of a character


def test_a_character_of_several_tokens_comes_whole(bpe: Decoder) -> None:
    """A model that can only say the bytes of the euro sign: right and wrong orders of them."""
    euro = bpe.tokenize("\u20ac")
    options: dict[str, Any] = {"logit_bias": dict.fromkeys(euro, 1000.0), "max_tokens": 40}
    whole = 0
    for seed in range(10):
        chunks = list(bpe.stream("ab", seed=seed, num_draft_tokens=0, **options))
        assert "".join(c.text for c in chunks) == bpe.detokenize(chunks[-1].completion.tokens)
        whole += sum("\u20ac" in chunk.text for chunk in chunks)
    assert whole


@pytest.mark.parametrize("k", [0, 4])
def test_text_ends_before_the_first_stop_string(bpe: Decoder, k: int) -> None:
    options: dict[str, Any] = {"seed": 0, "max_tokens": 60, "num_draft_tokens": k}
    free = bpe.generate("ab", **options).text
    stop = re.findall("[!-~]{2}", free)[2]
    stopped = bpe.generate("ab", **options, stop=["never there", stop])
    assert stopped.text == free[: free.index(stop)]
    assert stopped.finish_reason == "stop"
    chunks = list(bpe.stream("ab", **options, stop=stop))
    assert "".join(chunk.text for chunk in chunks) == stopped.text


def test_an_end_of_generation_token_is_in_the_tokens_and_not_in_the_text(bpe: Decoder) -> None:
    completion = bpe.generate("ab", logit_bias={2: 1000.0}, max_tokens=5)
    assert (completion.text, completion.tokens, completion.finish_reason) == ("", (2,), "stop")


# --- chat --------------------------------------------------------------------------------------

TALK: Any = [{"role": "system", "content": "cold"}, {"role": "user", "content": "ab"}]


def test_chat_renders_the_template_of_the_file(bpe: Decoder) -> None:
    rendered = (
        "<|im_start|>system\ncold<|im_end|>\n<|im_start|>user\nab<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    target, draft = bpe.chat_prompts(TALK)
    assert bpe.detokenize(target, special=True) == rendered
    assert target[0] == 1
    assert draft is None
    options: dict[str, Any] = {"temperature": 0.0, "max_tokens": 6}
    assert bpe.chat(TALK, **options).tokens == bpe.generate(target, **options).tokens


@pytest.mark.parametrize("talk", [TALK, TALK[1:]])
def test_only_the_draft_sees_the_other_system_message(bpe: Decoder, talk: Any) -> None:
    target, draft = bpe.chat_prompts(talk, draft_system="warm")
    shown = bpe.detokenize(draft, special=True)
    assert shown.startswith("<|im_start|>system\nwarm<|im_end|>\n<|im_start|>user\nab")
    assert "cold" not in shown
    assert "warm" not in bpe.detokenize(target, special=True)
    options: dict[str, Any] = {"seed": 1, "max_tokens": 12}
    chat = bpe.chat(talk, draft_system="warm", **options)
    assert chat.tokens == bpe.generate(target, draft_prompt=draft, **options).tokens
    streamed = list(bpe.stream_chat(talk, draft_system="warm", **options))
    assert streamed[-1].completion.tokens == chat.tokens


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", "<s>hi"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "hi"}]'),
        ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{% endfor %}x", "x"),
        ("{% for m in messages %}\n  {{ m['role'] }}\n{% endfor %}", "  user\n"),
        ("{% if add_generation_prompt %}go{% endif %}", "go"),
        ("{{ strftime_now('%Y') }}", str(dt.datetime.now().astimezone().year)),
        ("{{ ''.__class__ }}", ""),
    ],
)
def test_templates_have_what_they_expect(source: str, rendered: str) -> None:
    template = ChatTemplate(source, bos_token="<s>")
    assert template.render([{"role": "user", "content": "hi"}]) == rendered


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ messages[0].__class__.__mro__ }}",
        "{{ ''.__class__.__bases__[0].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{% include 'secrets' %}",
        "{{ ('{0.__class__.__mro__}').format(messages) }}",
    ],
)
def test_templates_are_kept_in_their_sandbox(source: str) -> None:
    with pytest.raises(ChatTemplateError):
        ChatTemplate(source).render([{"role": "user", "content": "hi"}])


# --- what a result tells -----------------------------------------------------------------------


@pytest.mark.numeric
@pytest.mark.parametrize("draft_prompt", [None, "cd"])
def test_echo_puts_the_prompt_and_its_scores_first(bpe: Decoder, draft_prompt: str | None) -> None:
    options: dict[str, Any] = {"seed": 2, "max_tokens": 5, "draft_prompt": draft_prompt}
    prompt = bpe.tokenize("ab cd ba")
    plain, echoed = bpe.generate(prompt, **options), bpe.generate(prompt, **options, echo=True)
    assert echoed.tokens == (*prompt, *plain.tokens)
    assert echoed.text == "ab cd ba" + plain.text
    assert plain.prompt_scores is None
    scores = bpe.score(prompt[:1], prompt[1:], temperature=0.8)
    assert echoed.prompt_scores.tokens == tuple(prompt[1:])
    close = 2 * precision.of_logprobs(TinySpec(**BPE))
    np.testing.assert_allclose(
        echoed.prompt_scores.target_logprobs, scores.target_logprobs, rtol=0, atol=close
    )
    assert echoed.usage == plain.usage


def test_the_prompt_alone_can_be_scored(bpe: Decoder) -> None:
    echoed = bpe.generate("ab cd", echo=True, max_tokens=0)
    assert (echoed.text, echoed.steps, echoed.finish_reason) == ("ab cd", (), "length")
    assert len(echoed.prompt_scores.target_logprobs) == len(echoed.tokens) - 1


def test_logit_bias_forbids_and_forces(bpe: Decoder) -> None:
    free = bpe.generate("ab", temperature=0.0, max_tokens=1).tokens[0]
    assert bpe.generate(
        "ab", temperature=0.0, max_tokens=1, logit_bias={free: float("-inf")}
    ).tokens != (free,)
    forced = bpe.generate("ab", max_tokens=4, logit_bias={20: 1000.0}, num_draft_tokens=2)
    assert forced.tokens == (20,) * 4


def test_top_logprobs_begin_with_the_most_probable(bpe: Decoder) -> None:
    for step in bpe.generate("ab", max_tokens=12, top_logprobs=4, seed=0, temperature=1.0).steps:
        values = list(step.top_logprobs.values())
        assert len(values) == 4
        assert values == sorted(values, reverse=True)
        if step.id in step.top_logprobs:
            assert step.logprob == pytest.approx(step.top_logprobs[step.id], abs=precision.DOUBLE)
        else:
            assert step.logprob <= values[-1]


def test_usage_has_the_shape_of_openai(bpe: Decoder) -> None:
    completion = bpe.generate("ab cd", max_tokens=20, seed=0, num_draft_tokens=3)
    details = completion.usage.pop("completion_tokens_details")
    drafted = completion.statistics.drafted
    assert details["accepted_prediction_tokens"] == completion.statistics.accepted
    assert sum(details.values()) == drafted > 0
    generated = len(completion.tokens)
    prompt = len(bpe.tokenize("ab cd"))
    usage = {k: v for k, v in completion.usage.items() if k != "completion_tokens_details"}
    assert usage == {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
    }


def test_the_seed_that_was_drawn_is_reported(bpe: Decoder) -> None:
    options = {"max_tokens": 30, "num_draft_tokens": 3}
    first, second = (bpe.generate("ab", **options) for _ in range(2))
    assert first.seed != second.seed
    assert bpe.generate("ab", **options, seed=first.seed).text == first.text


# --- around it ---------------------------------------------------------------------------------


def test_roles_of_the_same_file_share_its_weights(files: Files) -> None:
    target, small, _ = files.trio()
    detour = small.path.parent / "." / small.path.name
    with Decoder(target.path, small.path, str(detour), **EXACT) as decoder:
        models = decoder._models
        assert models["draft"] is models["reference"]
        assert models["draft"] is not models["target"]


def test_the_log_of_llama_cpp_reaches_logging(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="rewardshift.llama"):
        Decoder(files.model().path, **EXACT).close()
    lines = [r.getMessage() for r in caplog.records if r.name == "rewardshift.llama"]
    assert any("general.architecture" in line for line in lines)


def test_loading_prints_nothing(files: Files) -> None:
    process = run_python(
        f"""
        import rewardshift
        with rewardshift.Decoder({str(files.model().path)!r}, n_ctx=64, n_threads=1) as decoder:
            decoder.generate([1, 3], max_tokens=3)
        """
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_verbose_shows_the_log_on_stderr(files: Files) -> None:
    process = run_python(
        f"""
        import rewardshift
        rewardshift.Decoder({str(files.model().path)!r}, n_ctx=64, n_threads=1, verbose=True)
        """
    )
    assert (process.returncode, process.stdout) == (0, "")
    assert "rewardshift.llama: " in process.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("progress", [None, False])
def test_progress_shows_on_a_terminal_unless_unwanted(files: Files, progress: bool | None) -> None:
    import pty

    leader, follower = pty.openpty()
    process = run_python(
        f"""
        import os
        os.dup2({follower}, 2)
        import rewardshift
        rewardshift.Decoder({str(files.model().path)!r}, n_ctx=64, progress={progress}).close()
        """,
        pass_fds=(follower,),
    )
    os.close(follower)
    os.set_blocking(leader, False)
    try:
        shown = os.read(leader, 65536)
    except OSError:
        shown = b""
    os.close(leader)
    assert process.returncode == 0
    assert (b"loading" in shown) is (progress is None)


@pytest.mark.skipif(SANITIZED, reason="sanitizers keep what was freed")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_comes_back_after_close(files: Files) -> None:
    """Forty decoders of about 24 MiB each, one after the other, do not add up."""
    model = files.model(n_embd=512, n_ff=1024, n_layer=2)
    process = run_python(
        f"""
        import rewardshift
        from pathlib import Path

        def resident():
            fields = Path("/proc/self/statm").read_text().split()
            return int(fields[1]) * 4096

        def once():
            with rewardshift.Decoder(
                {str(model.path)!r}, n_ctx=2048, n_threads=1, use_mmap=False
            ) as decoder:
                decoder.generate([1, 3], max_tokens=2)

        for _ in range(3):
            once()
        before = resident()
        for _ in range(40):
            once()
        print(resident() - before)
        """
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) < 64 << 20
