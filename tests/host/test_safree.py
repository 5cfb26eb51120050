"""SAFREE on the hosts: how its text part reads their encoders, and what its guider and model patch do to a run."""

from __future__ import annotations

import logging
import math

import comfy.model_management
import comfy.samplers
import host
import pytest
import tiny_encoders
import tiny_models
import torch
from safelight_pack import custom_sample
from test_context_encode import LONG, PROMPT, counted, planted

from demo import world
from safelight.engine import safree_prompt, token_layout

CONCEPTS = "weapon, blood"
READABLE = [form for form in tiny_encoders.FORMS if form != "nameless"]
SETTINGS = {**host.SETTINGS, "steps": 6}


@pytest.fixture(scope="module", params=READABLE)
def clip(request):
    return tiny_encoders.clip(request.param)


def encode(clip, prompt):
    return host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=prompt)[0]


# -- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["a cat", "a cat and a knife on a green table", "knife " * 80])
def test_a_prompts_vector_is_the_pooled_output_before_its_projection(pack, prompt):
    clip = tiny_encoders.clip("SD1")
    tokens = token_layout.read_tokens(clip, prompt)
    vectors = safree_prompt.sentence_vectors(clip, tokens)[0, 0]
    pooled = encode(clip, prompt)[0][1]["pooled_output"]
    projection = clip.cond_stage_model.clip_l.transformer.text_projection.weight
    assert len(vectors) == len(tokens["l"]) == (2 if prompt.startswith("knife") else 1)
    assert torch.allclose(vectors[:1] @ projection.T, pooled, atol=1e-5)


@pytest.mark.parametrize("variant", ["as released", "as printed"])
@pytest.mark.parametrize("prompt", [PROMPT, "a (cat:1.4) and a (knife:0.6)", LONG], ids=["plain", "weighted", "long"])
def test_only_words_change_and_everything_else_is_the_hosts_own(pack, clip, prompt, variant):
    written = encode(clip, prompt)
    safe = safree_prompt.encode_safe(clip, prompt, CONCEPTS, variant)
    content = token_layout.describe(clip, token_layout.read_tokens(clip, prompt), *pair(written[0])).content
    changed = (safe.conditioning[0][0] != written[0][0])[0].any(dim=-1)
    assert safe.words and changed.any() and not (changed & ~content).any()
    assert torch.isfinite(safe.conditioning[0][0]).all()
    assert safe.conditioning[0][1].keys() == written[0][1].keys()
    assert all(same(value, safe.conditioning[0][1][key]) for key, value in written[0][1].items())
    assert (5 if variant == "as printed" else 0) <= safe.t <= (9 if variant == "as printed" else 10)


def same(one, other):
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


def pair(entry):
    return entry[0], entry[1].get("pooled_output")


def test_masked_prompts_in_one_call_are_those_of_a_call_each(clip, monkeypatch):
    together = safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")
    monkeypatch.setattr(safree_prompt, "_CHUNKS_PER_CALL", 1)
    with counted(clip) as calls:
        apart = safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")
    assert together.words == apart.words and together.t == apart.t
    assert torch.allclose(together.conditioning[0][0], apart.conditioning[0][0], atol=1e-4)
    assert len(calls) >= 1 + 2 + len(PROMPT.split())  # the prompt, two concepts, each word masked


def test_a_prompt_costs_few_calls_where_chunks_go_together():
    clip = tiny_encoders.clip("SDXL")
    with counted(clip) as calls:
        safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")
    assert len(calls) == 3


def test_a_masked_prompt_has_token_0_in_the_words_place_and_no_weights():
    clip = tiny_encoders.clip("SD1")
    with counted(clip) as calls:
        safree_prompt.encode_safe(clip, "a (cat:1.4)", CONCEPTS, "as released")
    cat = [token for token, *_ in clip.tokenize("a cat")["l"][0]]
    assert calls[-1]["l"] == [[(0 if i == masked else token, 1.0) for i, token in enumerate(cat)] for masked in (1, 2)]


def test_encoders_side_by_side_are_read_by_their_own_tokens(monkeypatch):
    """As with a textual inversion that only one of them knows."""
    clip = tiny_encoders.clip("SDXL")
    tokenize = clip.tokenize
    one = safree_prompt.encode_safe(clip, "cat", CONCEPTS, "as released").conditioning[0][0]
    monkeypatch.setattr(
        clip,
        "tokenize",
        lambda words, **options: {
            "l": tokenize(words, **options)["l"],
            "g": tokenize(words.split()[0], **options)["g"],
        },
    )
    safe = safree_prompt.encode_safe(clip, "cat and a knife", CONCEPTS, "as released").conditioning[0][0]
    written = encode(clip, "cat and a knife")[0][0]
    changed = (safe != written)[0, :, tiny_encoders.L :].any(dim=-1)
    assert changed.nonzero().flatten().tolist() == [1]  # G's one word
    assert torch.allclose(safe[0, :, tiny_encoders.L :], one[0, :, tiny_encoders.L :], atol=1e-5)


def test_the_planted_word_is_a_trigger():
    clip = planted(tiny_encoders.clip("SD1"))
    assert "knife" in safree_prompt.encode_safe(clip, "a cat and a knife", CONCEPTS, "as released").words


def test_every_chunk_of_a_long_prompt_is_read():
    clip = planted(tiny_encoders.clip("SD1"))
    far = safree_prompt.encode_safe(clip, "a cat " * 40 + "and a knife", CONCEPTS, "as released")
    assert "knife" in far.words
    # The first chunk, of 75 tokens, is a prompt by itself: what stands behind it changes nothing in it.
    other = safree_prompt.encode_safe(clip, "a cat " * 40 + "and a dog", CONCEPTS, "as released")
    assert torch.equal(far.conditioning[0][0][:, :76], other.conditioning[0][0][:, :76])


def test_a_weight_scales_what_is_taken_from_a_trigger():
    clip = planted(tiny_encoders.clip("SD1"))
    written, safe = {}, {}
    for weight in (1.0, 0.5):
        prompt = f"a cat and a (knife:{weight})"
        written[weight] = encode(clip, prompt)[0][0]
        safe[weight] = safree_prompt.encode_safe(clip, prompt, CONCEPTS, "as released")
    knife = 5  # start, a, cat, and, a, knife
    taken = {weight: (written[weight] - safe[weight].conditioning[0][0])[0, knife] for weight in written}
    assert taken[1.0].norm() > 0.1 and torch.allclose(taken[0.5], 0.5 * taken[1.0], atol=1e-5)


def test_a_single_word_is_a_trigger_and_no_words_are_none(clip):
    assert safree_prompt.encode_safe(clip, "cat", CONCEPTS, "as released").words
    empty = safree_prompt.encode_safe(clip, "", CONCEPTS, "as released")
    assert empty.words == () and "no words" in empty.notes[0]
    assert torch.equal(empty.conditioning[0][0], encode(clip, "")[0][0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"concepts": " , "}, "^concepts: expected words .*, got an empty list"),
        ({"concepts": "word " * 100}, "^concepts: .*too long"),
        ({"variant": "as rumoured"}, "^variant: unknown variant 'as rumoured'"),
    ],
)
def test_what_can_not_be_read_is_an_error(inputs, message):
    given = {"prompt": PROMPT, "concepts": CONCEPTS, "variant": "as released", **inputs}
    with pytest.raises(ValueError, match=message):
        safree_prompt.encode_safe(tiny_encoders.clip("SD1"), **given)


def test_encoders_that_can_not_be_read_are_an_error():
    for clip in (None, tiny_encoders.clip("nameless")):
        with pytest.raises(ValueError, match="^clip: "):
            safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")


@pytest.mark.parametrize("word", ["knife", "weapon"])
def test_values_that_are_not_numbers_are_an_error(word):
    clip = tiny_encoders.clip("SD1")
    table = clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    table[clip.tokenize(word)["l"][0][1][0]] = math.nan
    with pytest.raises(ValueError, match="^clip: .*finite"):
        safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")


def test_encoding_can_be_interrupted():
    comfy.model_management.interrupt_current_processing(True)
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  its class has another place and base on each host
            safree_prompt.encode_safe(tiny_encoders.clip("SD1"), PROMPT, CONCEPTS, "as released")
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert type(caught.value).__name__ == "InterruptProcessingException"


def test_context_encode_hands_the_prompts_text_on(pack):
    clip = tiny_encoders.clip("SD1")
    clip.tokenizer.safelight_anchors = {"benign": ["a cat", "a dog"], "unsafe": ["a knife", "a gun"]}
    out = host.call(pack.nodes["SafelightContextEncode"], clip=clip, prompt=" a (cat:1.2), a knife ", concepts=CONCEPTS)
    assert out[3] == " a (cat:1.2), a knife "


# -- the run ----------------------------------------------------------------------------------------------------------


class Scene:
    """A tiny SDXL-like model with an encoder that fits it, and a prompt."""

    def __init__(self, pack):
        self.pack = pack
        self.clip = tiny_encoders.clip("SDXL")
        self.model = tiny_models.sdxl_model(tiny_encoders.L + tiny_encoders.G, tiny_encoders.G)
        self.positive, self.negative = encode(self.clip, PROMPT), encode(self.clip, "blurry")
        self.latent = tiny_models.latent(batch=2, size=8)

    def guider(self, **settings):
        given = {
            "positive": self.positive,
            "negative": self.negative,
            "cfg": SETTINGS["cfg"],
            "prompt": PROMPT,
            "concepts": CONCEPTS,
            **settings,
        }
        return host.call(self.pack.nodes["SafelightSAFREEGuider"], model=self.model, clip=self.clip, **given)[0]

    def patch(self, **settings):
        host.require(host.has_wrappers(), "model wrappers")
        given = {"prompt": PROMPT, "concepts": CONCEPTS, **settings}
        return host.call(self.pack.nodes["SafelightSAFREEPatch"], model=self.model, clip=self.clip, **given)[0]

    def sample(self, latent=None, sampling=None, **settings):
        sampling = {**SETTINGS, **(sampling or {})}
        sigmas = host.sigmas_of(self.model, **sampling)
        return custom_sample(self.guider(**settings), sigmas, latent or self.latent, sampling)

    def stock(self, positive=None, negative=None, latent=None, **sampling):
        return host.stock(
            self.model,
            positive or self.positive,
            negative or self.negative,
            latent or self.latent,
            **{**SETTINGS, **sampling},
        )

    def safe(self, variant="as released"):
        return safree_prompt.encode_safe(self.clip, PROMPT, CONCEPTS, variant)


@pytest.fixture(scope="module")
def scene(pack):
    return Scene(pack)


@pytest.mark.parametrize("sampler_name", ["euler", "euler_ancestral", "dpmpp_2m", "heun"])
def test_strength_zero_is_the_stock_guider(scene, sampler_name):
    assert type(scene.guider(strength=0.0)) is comfy.samplers.CFGGuider
    with host.count_rows(scene.model) as stock_rows:
        plain = scene.stock(sampler_name=sampler_name)
    with host.count_rows(scene.model) as rows:
        ours = scene.sample(sampling={"sampler_name": sampler_name}, strength=0.0)
    assert torch.equal(ours, plain) and rows == stock_rows


def test_strength_zero_by_model_patch_is_the_same_model(scene):
    assert scene.patch(strength=0.0) is scene.model


@pytest.mark.parametrize(
    ("sampler_name", "variant"),
    [
        ("euler", "as released"),
        ("dpmpp_2m", "as printed"),
        ("heun", "as released"),
    ],
)
def test_the_safe_prompt_steers_in_the_window_and_the_written_one_after(pack, scene, sampler_name, variant):
    """The same as the Safelight Guider with the safe prompt, the window as a schedule and the concepts as negative."""
    safe = scene.safe(variant)
    schedule = pack.schedule([[0, 1], [(safe.t + 0.5) / 50, 0]], interpolation="step")
    sampling = {**SETTINGS, "steps": 14, "sampler_name": sampler_name}
    expected = pack.custom(
        scene.model,
        scene.positive,
        safe.conditioning,
        encode(scene.clip, CONCEPTS),
        scene.latent,
        safety=1.0,
        schedule=schedule,
        **sampling,
    )
    with host.count_rows(scene.model) as rows:
        ours = scene.sample(sampling=sampling, variant=variant)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, scene.stock(negative=encode(scene.clip, CONCEPTS), **sampling))
    assert set(rows.rows) == {4}  # two pictures, positive and negative: as many as a stock run


def test_strength_is_the_weight_in_the_window(scene):
    with host.count_rows(scene.model) as rows:
        half = scene.sample(strength=0.5)
    guided = rows.rows.count(6)
    assert 0 < guided < SETTINGS["steps"] and rows.rows == [6] * guided + [4] * (SETTINGS["steps"] - guided)
    full, none = scene.sample(), scene.stock(negative=encode(scene.clip, CONCEPTS))
    assert 0 < (half - none).norm() < (full - none).norm()


def test_the_linked_negative_stays_where_it_is_wanted(pack, scene):
    ours = scene.sample(concepts_as_negative=False)
    safe = scene.safe()
    schedule = pack.schedule([[0, 1], [(safe.t + 0.5) / 50, 0]], interpolation="step")
    assert torch.equal(
        ours,
        pack.custom(
            scene.model,
            scene.positive,
            safe.conditioning,
            scene.negative,
            scene.latent,
            safety=1.0,
            schedule=schedule,
            **SETTINGS,
        ),
    )
    assert not torch.equal(ours, scene.sample())


@pytest.mark.parametrize("by", ["guider", "patch"])
def test_the_concepts_take_the_negatives_place_and_keep_its_area(scene, by):
    area = {"area": (4, 8, 0, 0), "strength": 0.7, "set_area_to_bounds": False}
    negative = [[states, {**extra, **area}] for states, extra in scene.negative]
    concepts = [[states, {**extra, **area}] for states, extra in encode(scene.clip, CONCEPTS)]
    expected = scene.sample(negative=concepts, concepts_as_negative=False)
    if by == "guider":
        ours = scene.sample(negative=negative)
    else:
        ours = host.stock(scene.patch(), scene.positive, negative, scene.latent, **SETTINGS)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, scene.sample())


@pytest.mark.parametrize("settings", [{}, {"strength": 0.5}, {"concepts_as_negative": False}], ids=str)
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde"])
def test_safree_patch_gives_the_guiders_latent(scene, sampler_name, settings):
    sampling = {"sampler_name": sampler_name}
    patched = host.stock(
        scene.patch(**settings), scene.positive, scene.negative, scene.latent, **{**SETTINGS, **sampling}
    )
    assert torch.equal(patched, scene.sample(sampling=sampling, **settings))


@pytest.mark.parametrize("denoise", [0.5, 0.2])
def test_a_run_that_starts_behind_the_window_has_its_first_step_guided(scene, caplog, denoise):
    picture = tiny_models.latent(batch=2, size=8, seed=4)
    sampling = {"denoise": denoise}
    with caplog.at_level(logging.INFO, "safelight"), host.count_rows(scene.model) as rows:
        ours = scene.sample(latent=picture, sampling=sampling, strength=0.5, concepts_as_negative=False)
    assert rows.rows == [6] + [4] * (SETTINGS["steps"] - 1)
    assert "behind the steps that it guides" in caplog.text
    assert not torch.equal(ours, scene.stock(latent=picture, **sampling))


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_short_runs_are_guided_at_their_first_step(scene, steps):
    with host.count_rows(scene.model) as rows:
        scene.sample(sampling={"steps": steps}, strength=0.5)
    assert rows.rows == [6] + [4] * (steps - 1)


def test_the_log_tells_the_trigger_words(scene, caplog):
    with caplog.at_level(logging.INFO, "safelight"):
        scene.sample()
    assert f"trigger words {', '.join(scene.safe().words)}" in caplog.text


def test_a_picture_does_not_depend_on_those_beside_it(scene):
    latent = tiny_models.latent(batch=2, size=8)
    together = scene.sample(latent=latent)
    first = scene.sample(latent={"samples": latent["samples"][:1], "batch_index": [0]})
    assert torch.allclose(together[:1], first, rtol=1e-4, atol=1e-4 * float(first.abs().max()))


def test_without_trigger_words_the_negative_guards_or_it_is_an_error(scene):
    assert not torch.equal(scene.sample(prompt=""), scene.sample(prompt="", concepts="blood, weapon, cat"))
    with pytest.raises(ValueError, match="^concepts_as_negative: expected true"):
        scene.guider(prompt="", concepts_as_negative=False)
    with pytest.raises(ValueError, match="^prompt: expected a trigger word"):
        scene.sample(prompt="", cfg=1.0)
    assert scene.guider(prompt="", concepts_as_negative=False, strength=0.0) is not None


def test_at_cfg_one_the_window_guides_alone(scene):
    with host.count_rows(scene.model) as rows:
        ours = scene.sample(cfg=1.0)
    assert set(rows.rows) == {2}
    assert not torch.equal(ours, scene.stock(cfg=1.0))


def test_a_prompt_that_begins_behind_the_window_is_an_error_before_the_first_step(scene):
    late = [[states, {**extra, "start_percent": 0.5, "end_percent": 1.0}] for states, extra in scene.positive]
    with host.count_rows(scene.model) as rows, pytest.raises(ValueError, match="^prompt: its safe form never steers"):
        scene.sample(positive=late)
    assert rows.calls == 0


def test_another_encoder_than_the_prompts_is_an_error(scene):
    with pytest.raises(ValueError, match="^clip: expected texts 32 wide, as the prompt, got 64"):
        scene.guider(positive=tiny_models.conditioning(3))


def test_a_flow_model_with_t5_is_guided(pack):
    flux = host.extra("nodes_flux")
    host.require(flux is not None and hasattr(tiny_models.comfy.model_base, "Flux"), "Flux")
    clip = tiny_encoders.clip("Flux")
    model = tiny_models.flux_model(tiny_encoders.T5, tiny_encoders.L)
    positive, latent = encode(clip, PROMPT), tiny_models.latent(channels=16)
    out = {}
    for strength in (0.0, 1.0):
        guider = host.call(
            pack.nodes["SafelightSAFREEGuider"],
            model=model,
            clip=clip,
            positive=positive,
            negative=positive,
            prompt=PROMPT,
            cfg=1.0,
            concepts=CONCEPTS,
            strength=strength,
        )[0]
        out[strength] = custom_sample(guider, host.sigmas_of(model, **SETTINGS), latent, SETTINGS)
    assert torch.isfinite(out[1.0]).all() and not torch.equal(out[0.0], out[1.0])


def test_safree_trace_holds_the_run(scene):
    guider, trace = host.call(
        scene.pack.nodes["SafelightSAFREEGuider"],
        model=scene.model,
        clip=scene.clip,
        positive=scene.positive,
        negative=scene.negative,
        cfg=5.0,
        prompt=PROMPT,
        concepts=CONCEPTS,
        strength=0.5,
    )
    custom_sample(guider, host.sigmas_of(scene.model, **SETTINGS), scene.latent, SETTINGS)
    assert trace is guider.setup.trace and len(trace.calls) == SETTINGS["steps"]


# -- the demo model ---------------------------------------------------------------------------------------------------


def test_demo_most_unsafe_things_are_triggers(pack):
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    found = []
    for noun in (thing.noun for thing in world.UNSAFE):
        prompt = f"{world.article(noun)} and a cat on a green background"
        words = safree_prompt.encode_safe(clip, prompt, world.CONCEPTS, "as released").words
        found.append(any(word in words for word in noun.split() if word != "of"))
    assert sum(found) >= 0.6 * len(found)
