"""What counts as a patch around a model's calls."""

from types import SimpleNamespace

import pytest

from safelight.engine.call_patches import has_call_patch


def model(options=None, **more):
    return SimpleNamespace(model_options=options or {}, **more)


@pytest.mark.parametrize(
    "plain",
    [
        model(),
        model({"transformer_options": {"patches": {"attn1_patch": [len]}}}),
        model({"sampler_post_cfg_function": []}),
        model(wrappers={"outer_sample": {"a pack": []}}),
    ],
)
def test_a_model_without_one(plain):
    assert not has_call_patch(plain)


@pytest.mark.parametrize(
    "patched",
    [
        model({"transformer_options": {"easycache": object()}}),
        model({"sampler_cfg_function": len}),
        model({"sampler_pre_cfg_function": [len]}),
        model({"sampler_post_cfg_function": [len]}),
        model({"sampler_calc_cond_batch_function": len}),
        model({"model_function_wrapper": len}),
        model(wrappers={"outer_sample": {"a pack": [len]}}),
    ],
)
def test_a_model_with_one(patched):
    assert has_call_patch(patched)
