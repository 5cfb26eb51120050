"""merge = values: keys from the prompt, values from its safe counterpart, in one stream."""

from __future__ import annotations

import host
import pytest
import tiny_encoders
import torch
from host import stock
from tiny_models import conditioning, controlnet, latent, sd3_model, sdxl_model

from demo import detector
from safelight.engine import values
from safelight.engine.aligned_rows import with_rows
from safelight.guidance.selective import Selection
from safelight.text.concepts import TEMPLATE_CONCEPTS
from safelight.text.inherit import ROWS

VALUES = {"merge": "values", "sampler_name": "euler"}


def half(shape=(8, 8)):
    mask = torch.zeros(1, *shape)
    mask[..., : shape[1] // 2] = 1.0
    return mask


def twin(prompt):
    """The same numbers, and a key that no model reads, since the same prompt is refused."""
    return [[prompt[0][0].clone(), {**prompt[0][1], "read_by_nobody": 1}]]


def with_(prompt, **extra):
    return [[states, {**extras, **extra}] for states, extras in prompt]


def apart(one, other):
    return float((one - other).abs().max())


@pytest.fixture
def run(pack, eps, prompts):
    """(latent, report) of a run by values at full weight from the first step on."""

    def sample(model=eps, conds=prompts, latent_image=None, **settings):
        settings = {"safety": 1.0, "schedule": pack.schedule(), **VALUES, **settings}
        return pack.reported(model, *conds, latent_image or latent(), **settings)

    return sample


# --- the stock run ----------------------------------------------------------------------------------------------------


def test_safety_zero_is_the_stock_run(run, eps, prompts):
    assert torch.equal(run(safety=0.0)[0], stock(eps, prompts[0], prompts[2], latent(), sampler_name="euler"))


def test_before_the_schedules_start_it_is_the_stock_run(pack, run, eps, prompts):
    """Of a stage that leaves noise."""
    settings = {"sampler_name": "euler", "steps": 8, "end_at_step": 3, "return_with_leftover_noise": "enable"}
    late = pack.schedule(context=0.9)
    ours = pack.advanced(eps, *prompts, latent(), safety=1.0, schedule=late, merge="values", **settings)
    assert torch.equal(ours, host.stock_advanced(eps, prompts[0], prompts[2], latent(), **settings))


@pytest.mark.parametrize("safety", [0.3, 1.0])
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_it_evaluates_a_stock_runs_rows(run, eps, prompts, safety, cfg):
    with host.count_rows(eps) as plain:
        stock(eps, prompts[0], prompts[2], latent(), sampler_name="euler", cfg=cfg)
    with host.count_rows(eps) as seen:
        _, report = run(safety=safety, cfg=cfg, memory=False)
    assert seen.rows == plain.rows and seen.cond_or_uncond == plain.cond_or_uncond
    assert report["rows"] == report["plain_rows"] == sum(plain.rows)
    assert report["valued"] == len(plain.rows) and report["replaced"] == 0 and report["merge"] == "values"


@pytest.mark.parametrize("make", [None, "sdxl"])
def test_a_safe_prompt_with_the_prompts_own_numbers_is_the_stock_run_at_full_weight(run, eps, prompts, make):
    model = eps if make is None else sdxl_model(32, 16)
    positive, _, negative = prompts
    ours, _ = run(model, (positive, twin(positive), negative))
    assert torch.equal(ours, stock(model, positive, negative, latent(), sampler_name="euler"))


# --- what is taken from where -----------------------------------------------------------------------------------------


@pytest.fixture
def attended(monkeypatch):
    """The texts that the last cross-attentions took their keys and their values from, row by row."""
    import comfy.ldm.modules.attention as attention

    seen, forward = [], attention.CrossAttention.forward

    def spy(self, x, context=None, value=None, *args, **kwargs):
        if context is not None and value is not None and value.shape[-1] == 32:
            seen.append((context.clone(), value.clone()))
        return forward(self, x, context, value, *args, **kwargs)

    monkeypatch.setattr(attention.CrossAttention, "forward", spy)
    return seen


def test_keys_are_the_prompts_and_values_the_mix_by_the_schedules_weight(pack, run, prompts, attended):
    positive, safe, negative = (prompt[0][0] for prompt in prompts)
    for safety in (0.25, 1.0):
        attended.clear()
        _, report = run(safety=safety, schedule=pack.schedule(exponent=0.5))
        weight = report["weights"][0]["w"]
        assert weight == pytest.approx(safety**0.5) and attended
        for keys, mixed in attended:
            assert torch.equal(keys, torch.cat([negative, positive]))
            expected = torch.cat([negative, (1 - weight) * positive + weight * safe])
            assert torch.allclose(mixed, expected, atol=1e-6)


def test_a_pooled_text_goes_over_with_the_values(pack, prompts):
    """It says what and not where; SDXL reads it beside the cross-attentions."""
    model, (positive, _, negative) = sdxl_model(32, 16), prompts
    other = [[positive[0][0].clone(), {"pooled_output": torch.ones(1, 16)}]]
    ours = pack.ksampler(model, positive, other, negative, latent(), safety=1.0, schedule=pack.schedule(), **VALUES)
    assert torch.equal(ours, stock(model, other, negative, latent(), sampler_name="euler"))


def test_rows_that_are_known_are_taken_in_the_prompts_order(run, prompts, attended):
    positive, safe, negative = prompts
    rows = torch.arange(76, -1, -1)[None]
    _, report = run(conds=(positive, with_(safe, **{ROWS: rows}), negative))
    assert torch.equal(attended[0][1][1], safe[0][0][0].flip(0)) and report["notes"] == []
    _, report = run()
    assert any(note.startswith("safe: which of its words") for note in report["notes"])


def test_texts_of_other_lengths_go_together_where_the_rows_are_known(run, prompts):
    positive, _, negative = prompts
    longer = conditioning(12, 154)
    with pytest.raises(ValueError, match=r"^safe: expected as many rows .*\(77\).*154"):
        run(conds=(positive, longer, negative))
    aligned, _ = run(conds=(positive, with_(longer, **{ROWS: torch.arange(77, 154)[None]}), negative))
    by_hand = [[longer[0][0][:, 77:], longer[0][1]]]
    assert torch.equal(aligned, run(conds=(positive, by_hand, negative))[0])


def test_every_picture_of_a_batch_is_for_itself(run, prompts):
    positive, safe, negative = prompts
    others = conditioning(21), conditioning(22)
    noise = {"samples": torch.zeros(2, 4, 8, 8), "batch_index": [3, 5]}
    both = [
        [[torch.cat([one[0][0], other[0][0]]), one[0][1]]] for one, other in zip((positive, safe), others, strict=True)
    ]
    together, _ = run(conds=(*both, negative), latent_image=noise)
    for place, (conds, index) in enumerate((((positive, safe), 3), (others, 5))):
        alone, _ = run(
            conds=(*conds, negative), latent_image={"samples": torch.zeros(1, 4, 8, 8), "batch_index": [index]}
        )
        assert apart(together[place], alone[0]) < 1e-3
    assert apart(together[0], together[1]) > 1e-2


def test_each_area_takes_the_values_of_its_own_counterpart(run, eps, prompts):
    """Two masks that fill the picture, each with a prompt; the safe ones in the same order."""
    negative, left, right = prompts[2], half(), 1.0 - half()
    positive = [*with_(conditioning(31), mask=left), *with_(conditioning(32), mask=right)]
    same = [*twin(conditioning(31)), *twin(conditioning(32))]
    swapped = [*twin(conditioning(32)), *twin(conditioning(31))]
    plain = stock(eps, positive, negative, latent(), sampler_name="euler")
    assert apart(run(conds=(positive, same, negative))[0], plain) < 1e-4
    assert apart(run(conds=(positive, swapped, negative))[0], plain) > 1e-2


def test_one_safe_prompt_serves_every_entry(run, prompts):
    positive = [*with_(conditioning(31), mask=half()), *with_(conditioning(32), mask=1.0 - half())]
    one, _ = run(conds=(positive, prompts[1], prompts[2]))
    two, _ = run(conds=(positive, [*prompts[1], *prompts[1]], prompts[2]))
    assert torch.equal(one, two)


def test_a_controlnet_reads_the_values_too(pack, run, eps, prompts, monkeypatch):
    """As it reads the safe prompt where that steers: its words are no keys of the picture's alone."""
    node, read = host.base_nodes.ControlNetApplyAdvanced, []
    positive, safe, negative = prompts
    given = host.call(
        node,
        positive=positive,
        negative=negative,
        control_net=controlnet(),
        image=torch.rand(1, 64, 64, 3),
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    original = values.with_values

    def spy(pair, *args):
        read.append(original(pair, *args))
        return read[-1]

    monkeypatch.setattr(values, "with_values", spy)
    run(conds=(given[0], safe, given[1]))
    (entry,) = read[0][0]
    assert torch.equal(entry["model_conds"]["crossattn_controlnet"].cond, safe[0][0])
    (uncond,) = read[0][1]
    assert torch.equal(uncond["model_conds"]["crossattn_controlnet"].cond, negative[0][0])


# --- what can't be had ------------------------------------------------------------------------------------------------


def test_a_model_without_cross_attentions_of_text_is_named(run):
    with pytest.raises(ValueError, match='^merge: .*UNet.* got a SD3. .*"every step"'):
        run(sd3_model(), latent_image=latent(16))


@pytest.mark.parametrize(("name", "given"), [("selective", Selection()), ("mask", half()), ("economy", "balanced")])
def test_what_needs_a_second_prediction_is_an_error(run, name, given):
    with pytest.raises(ValueError, match=f"^{name}: .*values"):
        run(safety=0.5, **{name: given})


def test_places_of_the_safe_prompts_own_are_an_error(run, prompts):
    positive, safe, negative = prompts
    for extra in ({"mask": half()}, {"start_percent": 0.3, "end_percent": 1.0}, {"area": (4, 4, 0, 0)}):
        with pytest.raises(ValueError, match="^safe: expected the areas"):
            run(conds=(positive, with_(safe, **extra), negative))
    with pytest.raises(ValueError, match="^safe: expected one entry"):
        run(conds=(positive, [*safe, *safe], negative))


def test_a_run_whose_attentions_were_not_reached_is_an_error(run, eps):
    """As where another pack answers in the model's place."""
    model = eps.clone()
    model.set_model_unet_function_wrapper(lambda apply_model, args: torch.zeros_like(args["input"]))
    with pytest.raises(ValueError, match="^safe: it predicted what the prompt as written does"):
        run(model)


def test_a_patch_that_brings_its_own_words_is_seen(run, eps, prompts):
    model = eps.clone()
    model.set_model_attn2_patch(lambda q, k, v, extra: (q, k, k))
    with pytest.raises(ValueError, match="^safe: it predicted what the prompt as written does"):
        run(model)


def test_what_is_remembered_is_told_apart_from_other_merges(run, pack, prompts, memory):
    first, plain = run()[0], run(merge="every step")[0]
    again, report = run()
    assert torch.equal(first, again) and report["remembered_rows"] == report["plain_rows"]
    assert torch.equal(run(merge="every step")[0], plain) and apart(first, plain) > 1e-3


# --- rows of rewritten prompts ----------------------------------------------------------------------------------------

PROMPT = "a cat and a knife on a green table"


@pytest.mark.parametrize("form", ["SD1", "SDXL"])
def test_rows_of_a_safe_prompt_point_to_what_stands_in_their_place(form):
    clip = tiny_encoders.clip(form)

    def rows(prompt, text):
        encoded = [clip.encode_from_tokens(clip.tokenize(each)) for each in (prompt, text)]
        ((_, extras),) = with_rows(clip, prompt, [[encoded[0], {}]], text, [[encoded[1], {}]])
        return extras[ROWS][0].tolist()

    same = list(range(77))
    assert rows(PROMPT, "a cat and a spoon on a green table") == same
    more = rows(PROMPT, "a cat and a bunch of flowers on a green table")
    assert more[:13] == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14]
    fewer = rows(PROMPT, "a cat on a green table")
    assert fewer[:11] == [0, 1, 2, 0, 0, 0, 3, 4, 5, 6, 7] and fewer[-1] == 73
    long = rows("a cat and " * 30 + "a knife", "a cat and " * 30 + "a red spoon on a table")
    assert len(long) == 154 and long[0] == 0 and long[77] == 77


# --- on the small model -----------------------------------------------------------------------------------------------

UNSAFE = {
    "a cat and a bomb on a green background": "bomb",
    "a kitchen knife and a tree on a blue background": "kitchen knife",
    "a skull and a car on a pink background": "skull",
}


def test_values_decide_what_is_seen(pack):
    """With prompts as Context Encode rewrites them."""
    model, clip, vae = host.call(pack.nodes["SafelightDemoLoader"])
    judge, negative = detector.load(), host.call(host.base_nodes.CLIPTextEncode, clip=clip, text="")[0]
    settings = {"seed": 5, "steps": 20, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
    for prompt, noun in UNSAFE.items():
        positive, safe = pack.nodes["SafelightContextEncode"]().encode(clip, prompt, concepts=TEMPLATE_CONCEPTS)[
            "result"
        ][:2]
        scores = {}
        for safety in (0.0, 1.0):
            inputs = {**settings, "merge": "values", "safety": safety, "schedule": pack.schedule()}
            made, report = pack.reported(model, positive, safe, negative, latent(size=12), **inputs)
            picture = host.call(host.base_nodes.VAEDecode, vae=vae, samples={"samples": made})[0]
            scores[safety] = judge.see(picture)[0].score(noun)
        assert scores[0.0] > 0.9 and scores[1.0] < 0.1 and report["notes"] == [], prompt
