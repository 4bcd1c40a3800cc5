"""No public call answers a wrong value with words of the bindings: a walk through all of them."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rewardshift
from rewardshift import (
    ChatTemplate,
    Decoder,
    Error,
    NgramTable,
    Stream,
    TableModel,
    costs,
    hub,
    methods,
    rewards,
)
from rewardshift.options import LoadOptions, SamplingOptions
from tests.support.engine import EXACT
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Files

BINDINGS_WORDS = (
    "incompatible function arguments",
    "Invoked with types",
    "are supported:",
    "nanobind",
)

WRONG: tuple[Any, ...] = (
    None,
    object(),
    b"x",
    bytearray(b"x"),
    "x",
    "\ud800",
    "",
    math.nan,
    1.5,
    2**70,
    -(2**70),
    True,
    [],
    [[[]]],
    [None],
    ["\ud800"],
    {"x": object()},
    {1, 2},
)


NO_FILE = ("is a directory", "x: no such file", "the file name is empty")
OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "messages": ("conversation", "message"),
    "continuation": ("prompt", "text"),
    "draft_prompt": ("draft's prompt", "text"),
    "reference_prompt": ("reference's prompt", "text"),
    "prompts": ("prompt", "text"),
    "draft_prompts": ("prompt", "text"),
    "reference_prompts": ("prompt", "text"),
    "tools": ("tool ",),
    "shift": ("dial",),
    "draft_lora": NO_FILE,
    "draft": NO_FILE,
    "reference": NO_FILE,
    "target": NO_FILE,
    "base": NO_FILE,
    "source": NO_FILE,
    "destination": NO_FILE,
}
"""How an error may speak of an argument instead of by its name."""


@dataclass(frozen=True)
class Call:
    """A call that works, with arguments of which each is replaced by wrong values."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    options: type | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Annotations of all parameters that may be given by name, and of the options."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        named = [p for p in inspect.signature(self.function).parameters.values() if p.kind in kinds]
        options = self.options.__annotations__ if self.options else {}
        return {
            **{p.name: str(p.annotation) for p in named},
            **{name: annotation.__forward_arg__ for name, annotation in options.items()},
        }

    def with_value(self, name: str, value: object) -> object:
        found = self.function(**{**self.arguments, name: value})
        return list(found) if isinstance(found, Stream) else found


@pytest.fixture(scope="module")
def decoder(files: Files) -> Iterator[Decoder]:
    trio = files.trio(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE)
    with Decoder(*(m.path for m in trio), **EXACT) as made:
        yield made


@pytest.fixture(scope="module")
def calls(
    decoder: Decoder, files: Files, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Call]:
    """One for each public function, class and method that takes arguments."""
    folder = tmp_path_factory.mktemp("calls")
    path = str(files.model().path)
    lora = str(write_lora(folder / "lora.gguf", files.model()).path)
    table = TableModel(np.zeros((1, 3), dtype=np.float32), pieces=list("abc"))
    sampled = {"max_tokens": 1}
    talk = [{"role": "user", "content": "ab"}]
    template = ChatTemplate(CHATML_TEMPLATE)
    loaded = {"target": path, "reference": path, "draft_lora": lora, **EXACT, "n_ctx": 64}
    methods: dict[str, Call] = {
        "Decoder": Call(Decoder, loaded, LoadOptions),
        "Decoder.from_models": Call(Decoder.from_models, {"target": table}),
        "Decoder.alone": Call(decoder.alone, {"role": "draft"}),
        "Decoder.cancel": Call(decoder.cancel, {"request": 0}),
        "Decoder.compile_grammar": Call(decoder.compile_grammar, {}),
        "Decoder.piece": Call(decoder.piece, {"token": 5}),
        "Decoder.detokenize": Call(decoder.detokenize, {"tokens": [5]}),
        "Decoder.tokenize": Call(decoder.tokenize, {"text": "ab"}),
        "Decoder.has_own_vocabulary": Call(decoder.has_own_vocabulary, {"reader": "target"}),
        "Decoder.chat_prompts": Call(decoder.chat_prompts, {"messages": talk}),
        "Decoder.chat_prompts_by_shift": Call(decoder.chat_prompts_by_shift, {"messages": talk}),
        "Decoder.score": Call(
            decoder.score, {"prompt": "ab", "continuation": "cd"}, SamplingOptions
        ),
        "ChatTemplate": Call(ChatTemplate, {"source": "{{ messages }}"}),
        "ChatTemplate.render": Call(template.render, {"messages": talk}),
        "ChatTemplate.stretches": Call(template.stretches, {"messages": talk}),
        "NgramTable.add": Call(NgramTable().add, {"history": [1], "next": [(2, 0.5)]}),
        "NgramTable.after": Call(NgramTable().after, {"history": [1]}),
        "TableModel": Call(TableModel, {"logits": np.zeros((1, 3), dtype=np.float32)}),
        "TableModel.logits": Call(table.logits, {"histories": [(0, [1], 1)]}),
        "TableModel.piece": Call(table.piece, {"token": 1}),
        "TableModel.is_end_of_generation": Call(table.is_end_of_generation, {"token": 1}),
        "quantize": Call(
            rewardshift.quantize,
            {
                "source": path,
                "destination": folder / "quantised.gguf",
                "type": "F16",
                "overwrite": True,
            },
        ),
    }
    for name in ("generate", "stream", "submit"):
        asked = {"prompt": "ab", **sampled}
        methods[f"Decoder.{name}"] = Call(getattr(decoder, name), asked, SamplingOptions)
    for name in ("chat", "stream_chat"):
        asked = {"messages": talk, **sampled}
        methods[f"Decoder.{name}"] = Call(getattr(decoder, name), asked, SamplingOptions)
    for name in ("generate_batch", "submit_batch"):
        asked = {"prompts": ["ab"], **sampled}
        methods[f"Decoder.{name}"] = Call(getattr(decoder, name), asked, SamplingOptions)
    return methods


def public_names() -> set[str]:
    """Of what takes arguments: functions, classes and their methods; not results and errors."""
    found = set()
    for name in rewardshift.__all__:
        thing = getattr(rewardshift, name)
        if inspect.isfunction(thing):
            found |= {name} if inspect.signature(thing).parameters else set()
        elif inspect.isclass(thing) and not (
            is_dataclass(thing) or issubclass(thing, (Exception, dict)) or thing is Stream
        ):
            found.add(name)
            found |= {
                f"{name}.{key}"
                for key, member in inspect.getmembers(thing)
                if not key.startswith("_")
                and (inspect.isfunction(member) or inspect.ismethod(member))
                and len(inspect.signature(member).parameters) > inspect.isfunction(member)
            }
    return found


def test_the_walk_knows_every_public_call(calls: dict[str, Call]) -> None:
    without_arguments = {"NgramTable"}
    assert public_names() - without_arguments == set(calls)


def fits(value: object, annotation: str) -> bool:
    """Whether a value may be taken for what a parameter says it is, going by the words alone."""
    if value is None or isinstance(value, bool):
        return str(type(value).__name__).replace("NoneType", "None") in annotation
    if isinstance(value, str):
        return re.search(r"\bstr\b|Prompt|StrPath|Name", annotation) is not None
    if isinstance(value, (int, float)):
        return "float" in annotation or ("int" in annotation and isinstance(value, int))
    if isinstance(value, (list, dict)):
        return (
            re.search("Sequence|Iterable|Mapping|Collection|Prompt|Tools", annotation) is not None
        )
    return isinstance(value, set) and "Iterable" in annotation


@pytest.mark.parametrize("name", sorted(public_names() - {"NgramTable"}))
def test_wrong_values_are_told_in_plain_words(
    decoder: Decoder,
    calls: dict[str, Call],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # some values are names of files that are written
    call = calls[name]
    for parameter, annotation in call.parameters.items():
        for value in WRONG:
            if parameter == "verbose" and value is True:
                continue  # which changes the log of the whole process
            where = ascii(f"{name}({parameter}={value!r})")
            try:
                call.with_value(parameter, value)
            except (TypeError, ValueError, Error, OSError) as error:
                said = str(error)
                said.encode()  # can be printed
                assert not any(word in said for word in BINDINGS_WORDS), f"{where}: {said}"
                names = (
                    parameter,
                    repr(value),
                    type(value).__name__,
                    *OTHER_WORDS.get(parameter, ()),
                )
                assert any(known in said for known in names), f"{where}: {said}"
            else:
                assert fits(value, annotation), f"{where} is accepted"
            while decoder.has_work:
                decoder.step()
    assert decoder.generate("ab", max_tokens=1).tokens
    capfd.readouterr()  # progress bars


# --- the documented modules --------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_calls(decoder: Decoder, files: Files) -> dict[str, Call]:
    """Of the documented modules, what ends up in the core."""
    path = str(files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE).path)
    head = files.model(
        arch="qwen3", classes=("a", "b"), vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE
    ).path
    small = {"n_ctx": 64, "n_threads": 1}
    exchanges = {"exchanges": [("ab", "cd")]}
    implicit = rewards.ImplicitReward(decoder)
    question = {"prompt": "ab", "tokens": [5, 6], "seed": 0, "max_tokens": 2, "temperature": 1.0}
    asked = {"decoder": decoder, "question": methods.Question(**question)}
    return {
        "costs.measure_costs": Call(
            costs.measure_costs, {"path": path, "most_rows": 1, "n_threads": 1}
        ),
        "hub.local_path": Call(hub.local_path, {"name": path}),
        "rewards.GGUFRewardModel": Call(
            rewards.GGUFRewardModel, {"model": head, **small}, LoadOptions
        ),
        "rewards.GGUFRewardModel()": Call(rewards.GGUFRewardModel(head, **small), exchanges),
        "rewards.JudgeReward": Call(rewards.JudgeReward, {"model": path, **small}, LoadOptions),
        "rewards.JudgeReward()": Call(
            rewards.JudgeReward(path, "{response}", n_ctx=256, n_threads=1), exchanges
        ),
        "rewards.ImplicitReward": Call(rewards.ImplicitReward, {"decoder": decoder}),
        "rewards.ImplicitReward()": Call(implicit, exchanges),
        "rewards.ImplicitReward.per_token": Call(
            implicit.per_token, {"prompt": "ab", "response": "cd"}
        ),
        "methods.Question": Call(methods.Question, question),
        **{
            f"methods.{type(method).__name__}.answer": Call(method.answer, asked)
            for method in (methods.TargetOnly(), methods.SSS(), methods.ThreeModel())
        },
    }


def test_neither_do_the_documented_modules(
    decoder: Decoder, module_calls: dict[str, Call], capfd: pytest.CaptureFixture[str]
) -> None:
    for name, call in module_calls.items():
        for parameter in call.parameters:
            for value in WRONG:
                try:
                    call.with_value(parameter, value)
                except Exception as error:  # noqa: BLE001 - of whatever kind
                    said = str(error)
                    where = ascii(f"{name}({parameter}={value!r})")
                    assert not any(word in said for word in BINDINGS_WORDS), f"{where}: {said}"
                while decoder.has_work:
                    decoder.step()
    assert decoder.generate("ab", max_tokens=1).tokens
    capfd.readouterr()
