"""Text and tokens over HTTP, in both spellings; scores; places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.served import decoder_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from rewardshift import Decoder
    from tests.conftest import Files

MESSAGES = [{"role": "user", "content": "ab cd"}]


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


@pytest.fixture(scope="module")
def decoder(files: Files) -> Iterator[Decoder]:
    with decoder_of(files) as opened:
        yield opened


def post(client: TestClient, url: str, **asked: Any) -> Any:
    answer = client.post(url, json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- llama-server's spelling ----------------------------------------------------------------------


def test_text_becomes_tokens_and_text_again(client: TestClient, decoder: Decoder) -> None:
    for text in ("ab cd", "", "☃"):
        tokens = post(client, "/tokenize", content=text)["tokens"]
        assert tokens == decoder.tokenize(text, add_special=False)
        assert post(client, "/detokenize", tokens=tokens)["content"] == text
    assert post(client, "/tokenize") == {"tokens": []}


def test_special_tokens_are_added_and_recognised_as_asked_for(
    client: TestClient, decoder: Decoder
) -> None:
    for add in (False, True):
        for parse in (False, True):
            asked = {"content": "</s>a", "add_special": add, "parse_special": parse}
            assert post(client, "/tokenize", **asked)["tokens"] == decoder.tokenize(
                "</s>a", add_special=add, parse_special=parse
            )
    (end,) = post(client, "/tokenize", content="</s>")["tokens"]
    assert post(client, "/detokenize", tokens=[end])["content"] == "</s>"


def test_pieces_that_are_no_characters_are_bytes(client: TestClient) -> None:
    told = post(client, "/tokenize", content="ab☃", with_pieces=True)["tokens"]
    raw = b"".join(
        bytes(t["piece"]) if isinstance(t["piece"], list) else t["piece"].encode() for t in told
    )
    assert raw == "ab☃".encode()
    assert any(isinstance(token["piece"], list) for token in told)
    assert any(isinstance(token["piece"], str) for token in told)


def test_text_and_ids_mix(client: TestClient, decoder: Decoder) -> None:
    told = post(client, "/tokenize", content=["ab", 5, "cd"], add_special=True)["tokens"]
    cut = decoder.tokenize("cd", add_special=False)
    assert told == [*decoder.tokenize("ab"), 5, *cut]


# --- vLLM's ---------------------------------------------------------------------------------------


def test_a_prompt_is_counted(client: TestClient, decoder: Decoder) -> None:
    told = post(client, "/tokenize", model="m", prompt="ab cd", return_token_strs=True)
    ids = decoder.tokenize("ab cd")
    assert told == {
        "count": len(ids),
        "max_model_len": decoder.context_size,
        "tokens": ids,
        "token_strs": ["<s>", *(decoder.detokenize([i]) for i in ids[1:])],
    }
    told = post(client, "/tokenize", prompt="ab cd", add_special_tokens=False)
    assert (told["tokens"], told["token_strs"]) == (ids[1:], None)
    assert post(client, "/detokenize", model="m", tokens=ids)["prompt"] == "<s>ab cd"


def test_a_conversation_is_counted(client: TestClient, decoder: Decoder) -> None:
    told = post(client, "/tokenize", messages=MESSAGES)
    assert told["tokens"] == decoder.chat_prompts(MESSAGES)[0]
    without = post(client, "/tokenize", messages=MESSAGES, add_generation_prompt=False)
    assert without["tokens"] == told["tokens"][: without["count"]]
    assert without["count"] < told["count"]


def test_a_prompt_s_tokens_are_counted_beforehand(client: TestClient) -> None:
    counted = post(client, "/v1/chat/completions/input_tokens", messages=MESSAGES)
    answer = post(client, "/v1/chat/completions", messages=MESSAGES, max_tokens=1)
    assert counted["input_tokens"] == answer["usage"]["prompt_tokens"]


def test_the_tokenizer_is_told(client: TestClient, decoder: Decoder) -> None:
    told = client.get("/tokenizer_info").json()
    assert told["chat_template"] == decoder.chat_template
    assert (told["bos_token"], told["eos_tokens"]) == ("<s>", ["</s>"])
    assert told["vocab_size"] == decoder.vocab_size


def test_a_template_is_applied(client: TestClient) -> None:
    told = post(client, "/apply-template", messages=MESSAGES)
    assert told == {"prompt": "<|im_start|>user\nab cd<|im_end|>\n<|im_start|>assistant\n"}
    told = post(client, "/apply-template", messages=[{"role": "developer", "content": "a"}])
    assert told["prompt"].startswith("<|im_start|>system\na<|im_end|>")


@pytest.mark.parametrize(
    ("url", "asked", "said"),
    [
        ("/tokenize", {"content": 3}, "content"),
        ("/tokenize", {"content": [True]}, "content"),
        ("/tokenize", {"messages": MESSAGES, "chat_template": "x"}, "chat template"),
        ("/tokenize", {"messages": [{}] * 3000}, "messages"),
        ("/detokenize", {"tokens": "ab"}, "tokens"),
        ("/detokenize", {"tokens": [10**6]}, "vocabulary"),
        ("/detokenize", {"tokens": [-1]}, "vocabulary"),
        ("/apply-template", {}, "messages"),
        ("/apply-template", {"messages": [{"role": "user"}]}, "content"),
        ("/apply-template", {"messages": MESSAGES, "chat_template": "x"}, "chat template"),
        ("/v1/score", {"prompt": "a"}, "continuation"),
        ("/v1/score", {"continuation": "a"}, "prompt"),
        ("/v1/score", {"continuation": "a", "prompt": "a", "messages": MESSAGES}, "one of them"),
        ("/v1/score", {"continuation": [10**6], "prompt": "a"}, "vocabulary"),
        ("/v1/score", {"continuation": "a", "prompt": "a", "top_logprobs": -1}, "top_logprobs"),
        ("/v1/score", {"continuation": "a", "prompt": "a", "strength": {"x": 1}}, "x"),
        ("/v1/score", {"continuation": "bb", "prompt": "a", "choice": ["a"]}, "grammar"),
        ("/v1/score", {"continuation": "a" * 900, "prompt": "a"}, "tokens"),
    ],
)
def test_what_is_wrong_is_a_400_that_says_so(
    client: TestClient, url: str, asked: dict[str, Any], said: str
) -> None:
    answer = client.post(url, json=asked)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]


# --- scores ---------------------------------------------------------------------------------------


def test_scores_are_the_decoders(client: TestClient, decoder: Decoder) -> None:
    goal: dict[str, Any] = {"strength": 1.5, "temperature": 0.7}
    told = post(client, "/v1/score", prompt="ab", continuation=" cd☃", top_logprobs=2, **goal)
    score = decoder.score("ab", " cd☃", top_logprobs=2, **goal)
    assert told["tokens"] == list(score.tokens)
    for name in ("target_logprobs", "goal_logprobs", "log_z"):
        np.testing.assert_allclose(told[name], getattr(score, name), atol=1e-4)
    np.testing.assert_allclose(told["shifts"]["draft"], score.shifts["draft"], atol=1e-4)
    assert told["totals"]["goal_logprob"] == pytest.approx(score.goal_logprob, abs=1e-3)
    assert told["totals"]["shifts"]["draft"] == pytest.approx(score.implicit_reward, abs=1e-3)
    assert [[t["id"] for t in likely] for likely in told["top_logprobs"]] == [
        list(likely) for likely in score.top_logprobs
    ]


def test_a_score_is_at_temperature_one_unless_asked_for(files: Files, decoder: Decoder) -> None:
    with serving(files, defaults={"temperature": 0.2}) as client:
        told = post(client, "/v1/score", messages=MESSAGES, continuation="ab", seed=3)
    score = decoder.score(decoder.chat_prompts(MESSAGES)[0], "ab")
    np.testing.assert_allclose(told["goal_logprobs"], score.goal_logprobs, atol=1e-4)


def test_what_truncation_leaves_out_is_null(client: TestClient) -> None:
    told = post(client, "/v1/score", prompt="ab", continuation="cd☃a", top_k=1)
    assert None in told["goal_logprobs"]
    assert told["totals"]["goal_logprob"] is None


# --- places ---------------------------------------------------------------------------------------


def test_places_are_told(client: TestClient, decoder: Decoder) -> None:
    told = client.get("/slots").json()
    assert [slot["id"] for slot in told] == list(range(decoder.places))
    assert not any(slot["is_processing"] for slot in told)
    assert client.get("/slots?fail_on_no_slot=1").status_code == 200
