"""Beside other packs: patches of the attention, samplers and guiders of other kinds; and messages about the inputs."""

from __future__ import annotations

import json
import math

import comfy.samplers
import pytest
import torch
from host import call, extra, extra_node, sigmas_of, stock, validation_errors
from methods import NAMES, Method, nudged
from test_fail_closed import refused
from test_hosts_features import left_half
from test_map import guided
from test_selective import choose
from test_strip import CLOSE, apart, singles
from tiny_models import latent

from safelight.engine import http_routes
from safelight.guidance.schedule import from_preset

SHORT = {"steps": 2}


def nearly(ours, plain, by=1e-4):
    """Whether two pictures are one, but for rounding."""
    return bool(torch.linalg.norm(ours - plain) <= by * torch.linalg.norm(plain))


# --- patches of the attention that tell rows apart by cond_or_uncond


def negative_first(out, extra_options):
    """Takes all rows from the first positive one on for positive ones, as normalized attention guidance does."""
    order = extra_options["cond_or_uncond"]
    rows, first = out.chunk(len(order)), order.index(0)
    positive = torch.cat(rows[first:])
    negative = torch.ones_like(rows[0]).repeat(order.count(0), 1, 1)
    return torch.cat([*(rows[order.index(1) : first] if 1 in order else ()), 1.5 * positive - 0.5 * negative])


def first_of_each(out, extra_options):
    """Pushes the first positive rows from the first negative ones, as the host's own NAGuidance does."""
    order = extra_options["cond_or_uncond"]
    if not {0, 1}.issubset(order):
        return out
    rows = list(out.chunk(len(order)))
    positive, negative = order.index(0), order.index(1)
    rows[positive] = 1.5 * rows[positive] - 0.5 * rows[negative]
    return torch.cat(rows)


PATCHES = {"negative rows first": negative_first, "first row of each": first_of_each}


def patched(model, name):
    if name == "NAGuidance":
        return call(extra_node("nodes_nag", name), model=model, nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5)[0]
    model = model.clone()
    model.set_model_attn1_output_patch(PATCHES[name])
    return model


@pytest.mark.parametrize("safety", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("patch", [*PATCHES, "NAGuidance"])
def test_a_safe_prompt_that_is_the_positive_one_changes_nothing_under_an_attention_patch(
    pack, eps, prompts, patch, safety
):
    model, (positive, _, negative) = patched(eps, patch), prompts
    plain = stock(model, positive, negative, latent(), **SHORT)
    assert not nearly(plain, stock(eps, positive, negative, latent(), **SHORT), 0.01), "the patch has to act"
    settings = {"safety": safety, "schedule": pack.schedule(), **SHORT}
    ours = pack.ksampler(model, positive, nudged(positive), negative, latent(), **settings)
    assert nearly(ours, plain)


@pytest.mark.parametrize("patch", [*PATCHES, "NAGuidance"])
def test_a_strips_frames_are_the_stock_picture_where_the_safe_prompt_is_the_positive_one_under_an_attention_patch(
    pack, eps, prompts, patch
):
    model, (positive, _, negative) = patched(eps, patch), prompts
    plain = stock(model, positive, negative, latent(), **SHORT)
    settings = {"levels": "0.25, 0.5", "schedule": pack.schedule(), **SHORT}
    for frame in pack.strip(model, positive, nudged(positive), negative, latent(), **settings)[0].chunk(2):
        assert nearly(frame, plain)


@pytest.mark.parametrize("patch", [*PATCHES, "NAGuidance"])
@pytest.mark.parametrize("name", ["SLD", "CASG"])
def test_next_to_no_strength_is_next_to_the_stock_picture_under_an_attention_patch(pack, eps, prompts, name, patch):
    model, (positive, _, negative) = patched(eps, patch), prompts
    plain = stock(model, positive, negative, latent(), **SHORT)
    ours = Method(pack, name).by_guider(model, positive, negative, latent(), strength=1e-6, **SHORT)
    assert nearly(ours, plain)


# --- a sampler whose latent grows


def grown(model, guider):
    """The latent, twice as large as the empty one that the run begins with."""
    samplers, custom = extra("nodes_advanced_samplers"), extra("nodes_custom_sampler")
    sampler = call(samplers.SamplerLCMUpscale, scale_ratio=2.0, scale_steps=-1, upscale_method="nearest-exact")[0]
    torch.manual_seed(5)  # it draws from torch's own generator
    samples = call(
        custom.SamplerCustomAdvanced,
        noise=call(custom.RandomNoise, noise_seed=7)[0],
        guider=guider,
        sampler=sampler,
        sigmas=sigmas_of(model, steps=4),
        latent_image=latent(),
    )[0]["samples"]
    assert samples.shape[-2:] == (16, 16) and torch.isfinite(samples).all()
    return samples


def guider(pack, model, prompts, **inputs):
    """The GUIDER and the trace."""
    return guided(pack, model, *prompts, **{"schedule": pack.schedule(), **inputs})


@pytest.mark.parametrize("safety", [0.0, 1.0])
def test_the_ends_are_stock_pictures_with_a_sampler_whose_latent_grows(pack, eps, prompts, safety):
    positive, safe, negative = prompts
    plain = comfy.samplers.CFGGuider(eps)
    plain.set_conds(safe if safety else positive, negative)
    plain.set_cfg(5.0)
    assert torch.equal(grown(eps, guider(pack, eps, prompts, safety=safety)[0]), grown(eps, plain))


@pytest.mark.parametrize("name", ["plain", "mask", "economy", "selective"])
def test_a_sampler_whose_latent_grows_is_guided(pack, eps, prompts, name):
    inputs = {
        "plain": {},
        "mask": {"mask": left_half()},
        "economy": {"economy": "balanced"},
        "selective": {"selective": choose(pack)},
    }[name]
    ours = grown(eps, guider(pack, eps, prompts, **inputs)[0])
    assert not nearly(ours, grown(eps, guider(pack, eps, prompts, safety=0.0)[0]), 1e-2), "unguarded"


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_whose_latent_grows_is_guided_by_a_method(pack, eps, prompts, name):
    positive, _, negative = prompts
    method = Method(pack, name)
    ours, plain = (grown(eps, method.guider(eps, positive, negative, strength=s)[0]) for s in (1.0, 0.0))
    assert not nearly(ours, plain, 1e-3), "unguided"


def test_a_run_whose_latent_grows_has_a_map(pack, eps, prompts):
    guiding, trace = guider(pack, eps, prompts)
    grown(eps, guiding)
    _, _, mask, _ = call(pack.nodes["SafelightMap"], trace=trace, image=torch.rand(1, 32, 32, 3))
    assert mask.shape == (1, 32, 32) and mask.max() > 0


# --- a pack that replaces the host's guider for its run


class FirstOfPair:
    """A guider's first prediction, where it makes two."""

    def __init__(self, guider):
        self.guider = guider

    def __getattr__(self, name):
        return getattr(self.guider, name)

    def __call__(self, *args, **kwargs):
        denoised = self.guider(*args, **kwargs)
        return denoised[0] if isinstance(denoised, tuple) else denoised


@pytest.fixture
def swap(monkeypatch):
    """Replaces the host's methods, as LanPaint does for its run: a prediction becomes a pair, which its sampler takes.

    The first of the pair is the host's own prediction, so pictures stay the same."""

    def swapped():
        predict, sample = comfy.samplers.CFGGuider.predict_noise, comfy.samplers.KSAMPLER.sample
        monkeypatch.setattr(
            comfy.samplers.CFGGuider,
            "predict_noise",
            lambda self, *args, **kwargs: (predict(self, *args, **kwargs),) * 2,
        )
        monkeypatch.setattr(
            comfy.samplers.KSAMPLER,
            "sample",
            lambda self, guider, *args, **kwargs: sample(self, FirstOfPair(guider), *args, **kwargs),
        )

    return swapped


@pytest.mark.parametrize("safety", [0.5, 1.0])
@pytest.mark.parametrize("way", ["custom", "patched"])
def test_the_picture_is_the_same_within_a_pack_that_replaces_the_hosts_guider(pack, eps, prompts, swap, way, safety):
    settings = {"safety": safety, "schedule": pack.schedule(context=0.3), "steps": 4}
    before = getattr(pack, way)(eps, *prompts, latent(), **settings)
    swap()
    assert torch.equal(getattr(pack, way)(eps, *prompts, latent(), **settings), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_methods_picture_is_the_same_within_a_pack_that_replaces_the_hosts_guider(pack, eps, prompts, swap, name):
    positive, _, negative = prompts
    late = [[states, {**extras, "start_percent": 0.3, "end_percent": 1.0}] for states, extras in negative]
    sample = Method(pack, name).by_guider
    before = sample(eps, positive, late, latent(), **SHORT)
    swap()
    assert torch.equal(sample(eps, positive, late, latent(), **SHORT), before)


# --- more noise masks than pictures


@pytest.mark.parametrize(("pictures", "masks"), [(1, 2), (2, 1), (2, 2), (2, 3), (3, 2)])
def test_frames_of_a_strip_are_the_single_runs_whatever_the_number_of_noise_masks(pack, eps, prompts, pictures, masks):
    canvas = latent(batch=pictures, seed=4)
    canvas["noise_mask"] = torch.zeros(masks, 64, 64)
    for i in range(masks):
        canvas["noise_mask"][i, :, 16 * i : 16 * i + 32] = 1.0
    settings = {"steps": 2, "sampler_name": "euler"}
    frames, *_ = pack.strip(eps, *prompts, canvas, levels="0, 0.5", **settings)
    assert apart(frames, singles(pack, eps, prompts, canvas, (0.0, 0.5), **settings)) < CLOSE


# --- the route of the page


OTHER_NUMBERS = [("steps", "٣"), ("steps", "1_0"), ("denoise", "٠.٥"), ("denoise", "0.5_0"), ("end_at_step", "1_0")]
NEGATIVE = [("start_at_step", "-5"), ("end_at_step", "-99")]
NO_NUMBERS = [("steps", "many"), ("denoise", "half"), ("start_at_step", "1.5"), ("end_at_step", "")]


@pytest.mark.parametrize(("name", "value"), [*OTHER_NUMBERS, *NEGATIVE, *NO_NUMBERS])
def test_a_request_with_a_number_that_the_node_would_not_take_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        http_routes.answer({"steps": "20", "scheduler": "karras", name: value})


# --- messages that name the right input


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (way, name)
        for way in ("ksampler", "advanced", "custom", "strip")
        for name in ("positive", "negative", "latent_image")
        if (way, name) != ("custom", "latent_image")  # the guider has no such input
    ],
)
def test_a_missing_input_is_named(pack, eps, prompts, way, name):
    given = dict(zip(("positive", "safe", "negative"), prompts, strict=True)) | {"latent_image": latent(), name: None}
    refused(name, getattr(pack, way), eps, **given)


@pytest.mark.parametrize("name", ["positive", "negative"])
def test_a_missing_input_of_a_method_is_named(pack, eps, prompts, name):
    given = {"positive": prompts[0], "negative": prompts[2], name: None}
    refused(name, Method(pack, "SLD").guider, eps, **given)


@pytest.mark.parametrize("way", ["ksampler", "strip"])
def test_a_denoise_that_is_no_number_is_named(pack, eps, prompts, way):
    refused("denoise", getattr(pack, way), eps, *prompts, latent(), denoise=math.nan)


@pytest.fixture(scope="module")
def demo(pack):
    """MODEL and CLIP of the demo model, which reads words that it does not know as nothing."""
    model, clip, _ = call(pack.nodes["SafelightDemoLoader"])
    few = {kind: phrases[:4] for kind, phrases in clip.tokenizer.safelight_anchors.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip.tokenizer, "safelight_anchors", few)
        yield model, clip


@pytest.mark.parametrize(
    ("node", "name"),
    [
        (node, name)
        for node, names in (
            ("ContextEncode", ("concepts",)),
            ("Erase", ("erase", "instead", "preserve")),
            ("Redact", ("redact", "reference", "keep")),
            ("ConceptVector", ("unsafe_prompts", "safe_prompts")),
            ("SLDGuider", ("concept",)),
        )
        for name in names
    ],
)
def test_a_text_of_which_the_encoder_knows_no_word_is_an_error_of_its_input(pack, demo, prompts, node, name):
    inputs = {
        "ContextEncode": {"prompt": "a cat", "method": "project"},
        "Erase": {"model": demo[0], "erase": "a knife"},
        "Redact": {"redact": "a knife", "reference": "a sunflower", "keep": "a cat", "form": "ridge", "steps": 1},
        "ConceptVector": {"unsafe_prompts": "a knife", "safe_prompts": "a sunflower"},
        "SLDGuider": {"model": demo[0], "positive": prompts[0], "negative": prompts[2], "cfg": 5.0, "concept": "x"},
    }[node]
    with pytest.raises(ValueError, match=f"^{name}: "):
        call(pack.nodes[f"Safelight{node}"], clip=demo[1], **{**inputs, name: "a zeppelin"})


@pytest.mark.parametrize("name", ["prompt", "safe_prompt"])
def test_a_word_that_the_encoder_does_not_know_is_in_a_note_of_its_prompt(pack, demo, name):
    node = pack.nodes["SafelightContextEncode"]()
    verdict = node.encode(demo[1], **{"prompt": "a knife", "safe_prompt": "a cat", name: "a cat, a Zeppelin"})["ui"]
    notes = json.loads(verdict["safelight_verdict"][0])["notes"]
    assert [note for note in notes if "does not know Zeppelin and" in note]


SCHEDULE = {"preset": "custom", "context": 0.2, "axis": "steps"}
ZERO = {"points": [[0.0, 0.0], [1.0, 0.0]], "interpolation": "linear"}


def test_a_curve_that_guards_nothing_is_one_error_on_the_curve(pack):
    """Before the run, or else when the node runs."""
    node = pack.nodes["SafelightWeightSchedule"]
    assert [name for name, _ in validation_errors(node, **SCHEDULE, curve=ZERO)] in ([], ["curve"])
    with pytest.raises(ValueError, match="^curve: "):
        call(node, **SCHEDULE, curve=ZERO)


@pytest.mark.parametrize("name", SCHEDULE)
def test_an_input_that_is_left_out_is_the_hosts_error_of_that_input(pack, name):
    inputs = {key: value for key, value in SCHEDULE.items() if key != name}
    errors = validation_errors(
        pack.nodes["SafelightWeightSchedule"], **inputs, curve={**ZERO, "points": [[0, 1], [1, 1]]}
    )
    assert [(key, text.split(":")[0]) for key, text in errors] == [(name, "Required input is missing")]


@pytest.mark.parametrize("least", [5e-324, 1e-310])
def test_a_curve_that_is_taken_has_a_height_everywhere(least):
    curve = {"points": [[0.0, 0.0], [0.5, least], [1.0, 1.0]], "interpolation": "monotone_cubic"}
    try:
        schedule = from_preset("custom", 0.0, "steps", curve)
    except ValueError as error:
        assert str(error).startswith("curve: ")
        return
    heights = [schedule.curve(i / 64) for i in range(65)]
    assert all(0.0 <= height <= 1.0 for height in heights), heights
