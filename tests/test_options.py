"""Options are defined once, in C++; Python repeats only their names and types."""

from __future__ import annotations

import pytest

from rewardshift import _core
from rewardshift.options import (
    ContextOptions,
    ModelOptions,
    SamplingOptions,
    fill,
    request_params,
    split_load_options,
)


def fields(struct: type) -> set[str]:
    return {name for name in dir(struct) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("typed", "struct", "only_typed", "only_core"),
    [
        (ModelOptions, _core.ModelOptions, set(), set()),
        (ContextOptions, _core.ContextOptions, set(), {"n_histories", "features"}),
        (
            SamplingOptions,
            _core.RequestParams,
            {"echo", "logprobs", "deterministic", "strength", "response_format", "regex", "choice"},
            {"reproducible", "strengths"},
        ),
    ],
)
def test_names_are_the_same_on_both_sides(
    typed: type, struct: type, only_typed: set[str], only_core: set[str]
) -> None:
    assert set(typed.__annotations__) - only_typed == fields(struct) - only_core


@pytest.mark.parametrize(
    "struct", [_core.ModelOptions, _core.ContextOptions, _core.RequestParams, _core.DecoderOptions]
)
def test_every_option_is_documented(struct: type) -> None:
    for name in fields(struct):
        assert getattr(struct, name).__doc__, name


def test_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"unknown option 'temprature'; there are .*temperature"):
        request_params({"temprature": 1.0})


def test_wrong_type_is_named_with_its_value() -> None:
    with pytest.raises(TypeError, match="temperature cannot be 'hot'"):
        fill(_core.RequestParams(), {"temperature": "hot"})


def test_load_options_go_where_they_belong() -> None:
    model, context = split_load_options({"use_mmap": False, "n_ctx": 77})
    assert model.use_mmap is False
    assert context.n_ctx == 77


def test_types_of_the_cache_are_named_in_any_case() -> None:
    _, context = split_load_options({"type_k": "Q8_0", "type_v": "q4_0"})
    assert (context.type_k, context.type_v) == ("q8_0", "q4_0")
    with pytest.raises(ValueError, match=r"type_k must be one of f32.*, not 'Q9_K'"):
        split_load_options({"type_k": "Q9_K"})
    with pytest.raises(TypeError, match="type_k cannot be 8"):
        split_load_options({"type_k": 8})


def test_user_forms_become_the_core_s() -> None:
    params = request_params({"stop": "x", "logit_bias": {3: 1.5}, "max_tokens": None, "seed": 9})
    assert (params.stop, params.logit_bias, params.max_tokens) == (["x"], [(3, 1.5)], -1)
    assert params.seed == 9


def test_missing_seeds_are_drawn() -> None:
    drawn = {request_params(o).seed for o in ({}, {"seed": None}, {"seed": -1})}
    assert len(drawn) == 3


def test_logprobs_is_another_name_for_top_logprobs() -> None:
    assert request_params({"logprobs": 3}).top_logprobs == 3
    assert request_params({"logprobs": 3, "top_logprobs": 2}).top_logprobs == 2


def test_strengths_are_those_of_the_shifts_by_name() -> None:
    assert request_params({"strength": 1.5}, ["a"]).strengths == [1.5]
    assert request_params({"strength": {"b": -0.5}}, ["a", "b"]).strengths == [0, -0.5]
    assert request_params({"strength": 0}, ["a", "b"]).strengths == [0, 0]
    assert request_params({}, ["a", "b"]).strengths == []
    with pytest.raises(ValueError, match=r"strength names 'c', .*only a, b"):
        request_params({"strength": {"c": 1}}, ["a", "b"])
    with pytest.raises(ValueError, match=r"strength 2 is for one shift.*\(a, b\)"):
        request_params({"strength": 2}, ["a", "b"])
    with pytest.raises(ValueError, match="strength of a must be finite, not inf"):
        request_params({"strength": {"a": float("inf")}}, ["a"])
    with pytest.raises(TypeError, match="strength of a cannot be 'much'"):
        request_params({"strength": {"a": "much"}}, ["a"])
