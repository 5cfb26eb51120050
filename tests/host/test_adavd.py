"""SafelightAdaVD in the host: off is off, other branches stay apart, and values are what the formula says."""

from __future__ import annotations

import host
import pytest
import tiny_encoders
import torch
from tiny_models import conditioning, latent, sd3_model, sdxl_model

from safelight.edits import adavd
from safelight.engine import known_rows
from safelight.engine.decomposed_values import last_words

CONCEPTS = "a kitchen knife, blood"


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture
def apply(pack, clip):
    def applied(model, concepts=CONCEPTS, **inputs):
        return host.call(pack.nodes["SafelightAdaVD"], model=model, clip=clip, concepts=concepts, **inputs)[0]

    return applied


def stock(model, prompts, **settings):
    return host.stock(model, prompts[0], prompts[2], latent(), **settings)


def apart(one, other):
    return float((one - other).abs().max())


def test_strength_zero_is_the_very_model(apply, eps):
    assert apply(eps, strength=0.0) is eps


def test_other_branches_stay_as_they_are(apply, eps, prompts):
    """Runs in turn: the host sets the patches, and takes them back."""
    plain, taken, weak, adaptive = stock(eps, prompts), apply(eps), apply(eps, strength=0.5), apply(eps, adaptive=True)
    first, second = stock(taken, prompts), stock(weak, prompts)
    assert torch.equal(stock(eps, prompts), plain)
    assert torch.equal(stock(taken, prompts), first) and torch.equal(stock(weak, prompts), second)
    assert apart(first, plain) > 1e-3 and apart(second, plain) > 1e-3 and apart(first, second) > 1e-3
    assert torch.isfinite(stock(adaptive, prompts)).all()


def test_values_are_what_the_formula_says(apply, clip, eps, prompts):
    """Of every value projection, of a text of two chunks."""
    taken, words = apply(eps, strength=0.7), last_words(clip, CONCEPTS)
    text = torch.cat([prompts[0][0][0], prompts[1][0][0]], dim=1)
    patches = {place: patch for place, patch in taken.object_patches.items() if "attn2.to_v" in place}
    assert len(patches) == len(taken.object_patches) > 0
    for place, patch in patches.items():
        weight = eps.get_model_object(place.replace(".forward", ".weight"))
        values, (first, second) = text @ weight.T, words @ weight.T
        across = second - (second @ first) / (first @ first) * first  # Gram-Schmidt by hand
        expected = values.clone()
        for direction in (first, across):
            expected -= 0.7 * (values @ direction)[..., None] / (direction @ direction) * direction
        expected[:, [0, adavd.CHUNK]] = values[:, [0, adavd.CHUNK]]
        assert torch.allclose(patch(text), expected, atol=1e-4 * float(values.abs().max())), place


def test_the_last_word_of_each_concept_counts(clip):
    """Of a causal encoder: what follows does not change a row."""
    knife, blood = last_words(clip, CONCEPTS)
    assert torch.allclose(last_words(clip, "a kitchen knife")[0], knife, atol=1e-5)
    assert torch.allclose(last_words(clip, "blood\n")[0], blood, atol=1e-5)
    assert apart(last_words(clip, "a kitchen")[0], knife) > 1e-3


def test_it_acts_on_all_three_rows_of_a_dual_call(pack, apply, eps, prompts):
    taken, settings = apply(eps), {"safety": 0.5, "schedule": pack.schedule()}
    with host.count_rows(taken) as seen:
        ours = pack.ksampler(taken, *prompts, latent(), **settings)
    assert set(seen.rows) == {3}
    assert apart(ours, pack.ksampler(eps, *prompts, latent(), **settings)) > 1e-3


def test_a_prompt_that_the_host_repeats_means_the_same(apply, eps, prompts):
    """To batch it with a longer one. Attention to the same tokens twice is attention to them once."""
    positive, _, negative = prompts
    twice = [[torch.cat([positive[0][0]] * 2, dim=1), positive[0][1]]]
    taken = apply(eps)
    once, plain = (host.stock(model, positive, negative, latent()) for model in (taken, eps))
    assert apart(host.stock(taken, twice, negative, latent()), once) < 0.02 * apart(plain, once)


def test_prompts_of_any_length(apply, eps):
    taken = apply(eps)
    for tokens in (2, 60, adavd.CHUNK + 5):
        made = host.stock(taken, conditioning(1, tokens), conditioning(2, tokens), latent(), steps=2)
        assert bool(torch.isfinite(made).all())


def test_a_model_without_values_of_this_text_is_named(apply):
    with pytest.raises(ValueError, match="^model: expected a UNet .* 32 wide, .*got a SD3 model"):
        apply(sd3_model())
    with pytest.raises(ValueError, match="^model: expected a UNet .* 32 wide, .*got a UNet model for texts 48 wide"):
        apply(sdxl_model(48, 16))


def test_an_encoder_whose_rows_are_not_words_is_refused(apply, eps, monkeypatch):
    monkeypatch.setattr(known_rows, "why_unknown", lambda clip: "puts the prompt in a template")
    with pytest.raises(ValueError, match="^clip: expected .* single words .* for AdaVD, got one that puts the prompt"):
        apply(eps)


@pytest.mark.parametrize("strength", [-0.1, 2.5, float("nan"), True, "much"])
def test_strength_is_checked(apply, eps, strength):
    with pytest.raises(ValueError, match="^strength"):
        apply(eps, strength=strength)


@pytest.mark.parametrize("concepts", ["", " \n", ", ,"])
def test_no_concept_is_an_error(apply, eps, concepts):
    with pytest.raises(ValueError, match="^concepts"):
        apply(eps, concepts)
