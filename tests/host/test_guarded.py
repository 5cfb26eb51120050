"""How far a run moved the prediction, as its report says it; and runs that are left as they are for a reason."""

from __future__ import annotations

import pytest
import tiny_encoders
import tiny_models
import torch
from host import call, count_rows, stock
from methods import differs
from planted_words import planted, with_few_anchors
from test_fail_closed import routes
from tiny_models import latent

from safelight.text.inherit import HARMLESS

LINEAR = {"steps": 1, "cfg": 1.0}  # the picture is the prediction, but for the host's scale of latents


def rms(x):
    return x.square().flatten(1).mean(dim=1).sqrt()


@pytest.mark.parametrize("safety", [0.25, 1.0])
def test_the_report_says_how_far_each_picture_moved(pack, eps, prompts, safety):
    positive, safe, negative = prompts
    canvas = latent(batch=2, seed=3)
    mask = torch.ones(2, 64, 64)
    mask[1, :, 32:] = 0.0  # half of the second picture: so safety 1 evaluates both prompts too
    plain, guarded = (stock(eps, text, negative, canvas, **LINEAR) for text in (positive, safe))
    settings = {"safety": safety, "schedule": pack.schedule(), "mask": mask, **LINEAR}
    ours, report = pack.reported(eps, positive, safe, negative, canvas, **settings)
    assert report["replaced"] == 0 and report["format"] == 2 and not report["harmless"]
    assert report["moved"] == pytest.approx((rms(ours - plain) / rms(plain)).tolist(), rel=1e-3)
    assert report["moved"][0] == pytest.approx(float((safety * rms(guarded - plain) / rms(plain))[0]), rel=1e-3)
    assert 0 < report["moved"][1] < report["moved"][0]


def test_calls_of_the_safe_prompt_alone_are_counted_apart(pack, eps, prompts):
    _, report = pack.reported(eps, *prompts, latent(), safety=1.0, schedule=pack.schedule(), steps=3)
    assert (report["moved"], report["replaced"]) == ([], 3)
    _, report = pack.reported(eps, *prompts, latent(), safety=0.0, steps=3)
    assert (report["moved"], report["replaced"]) == ([], 0)


def test_the_log_says_how_far_a_run_moved(pack, eps, prompts, caplog):
    caplog.set_level("INFO", "safelight")
    for name, sample in routes(pack).items():
        caplog.clear()
        sample(eps, *prompts, latent(), safety=0.5, schedule=pack.schedule(), steps=2)
        assert any("moved the prediction by" in line for line in caplog.messages), name


def test_a_strip_says_how_far_each_level_moved(pack, eps, prompts):
    settings = {"levels": "0, 0.25, 1", "schedule": pack.schedule(), "steps": 3}
    report = pack.strip(eps, *prompts, latent(), **settings)[1]
    off, low, full = report["frames"]
    assert (off["moved"], off["replaced"]) == ([], 0) and (full["moved"], full["replaced"]) == ([], 3)
    single = pack.reported(eps, *prompts, latent(), safety=0.25, schedule=pack.schedule(), steps=3)[1]
    assert low["moved"] == pytest.approx(single["moved"], rel=1e-3) and single["moved"][0] > 1e-3
    assert (report["moved"], report["replaced"]) == (full["moved"], full["replaced"])


def marked(conditioning):
    """As Safelight Context Encode gives safe for a prompt in which it finds nothing unsafe."""
    return [[states, {**extras, HARMLESS: True}] for states, extras in conditioning]


def test_a_harmless_prompt_is_left_to_the_stock_sampler(pack, eps, prompts):
    positive, _, negative = prompts
    plain = stock(eps, positive, negative, latent(), steps=3)
    with count_rows(eps) as stock_rows:
        stock(eps, positive, negative, latent(), steps=3)
    for name, sample in routes(pack).items():
        if name == "advanced":
            continue  # 20 steps, and the very code of the ksampler
        with count_rows(eps) as rows:
            ours = sample(eps, positive, marked(positive), negative, latent(), steps=3, safety=1.0)
        assert torch.equal(ours, plain) and rows.rows == stock_rows.rows, name
    _, report = pack.reported(eps, positive, marked(positive), negative, latent(), steps=3)
    assert report["harmless"] and any("nothing unsafe" in note for note in report["notes"])
    frames, report, *_ = pack.strip(eps, positive, marked(positive), negative, latent(), levels="0, 1", steps=3)
    assert report["harmless"] and all(torch.allclose(frame, plain, atol=1e-5) for frame in frames.split(1))


def test_a_harmless_mark_on_another_prompt_than_positive_means_nothing(pack, eps, prompts):
    positive, safe, negative = prompts
    settings = {"safety": 1.0, "schedule": pack.schedule(), "steps": 2}
    for name, sample in routes(pack).items():
        if name == "advanced":
            continue
        ours = sample(eps, positive, marked(safe), negative, latent(), **settings)
        assert not differs(ours, stock(eps, safe, negative, latent(), steps=2)), name


def patched(model, patch):
    model = model.clone()
    model.set_model_attn1_output_patch(patch)
    return model


def test_under_an_attention_patch_each_prompt_is_evaluated_in_a_pair_with_the_same_draws(pack, eps, prompts):
    """A patch may draw, as HyperTile does: the pairs draw the same, and a sampler after them what it draws in stock."""
    positive, safe, negative = prompts
    orders = []

    def noisy(out, options):
        orders.append(list(options["cond_or_uncond"]))
        rows = out.chunk(len(orders[-1]))
        return torch.cat([row + 0.1 * torch.rand(1).item() for row in rows])

    model = patched(eps, noisy)
    settings = {"steps": 3, "sampler_name": "euler"}
    torch.manual_seed(3)
    plain, state = stock(model, positive, negative, latent(), **settings), torch.get_rng_state()
    near = [[states * (1 + 1e-5), extras] for states, extras in positive]
    orders.clear()
    torch.manual_seed(3)
    with count_rows(model) as rows:
        ours = pack.ksampler(
            model, positive, near, negative, latent(), safety=0.5, schedule=pack.schedule(), **settings
        )
    assert torch.linalg.norm(ours - plain) < 1e-4 * torch.linalg.norm(plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(order == [1, 0] for order in orders) and rows.rows == [2, 2] * 3


@pytest.mark.parametrize("safety", [0.5, 1.0])
def test_a_patch_with_words_of_its_own_in_every_prompts_place_is_an_error(pack, eps, prompts, safety):
    """As some attention couples on the MODEL have them: whatever safe says, the picture is the same."""
    words = tiny_models.conditioning(41)[0][0]

    def own_words(q, k, v, options):
        there = words.to(k).expand(k.shape[0], -1, -1)
        return q, there, there

    model = eps.clone()
    model.set_model_attn2_patch(own_words)
    positive, safe, negative = ([[states, {}] for states, _ in text] for text in prompts)
    settings = {"safety": safety, "schedule": pack.schedule(), "steps": 2}
    for name, sample in routes(pack).items():
        with pytest.raises(ValueError, match="^safe: it predicted what the prompt as written does"):
            sample(model, positive, safe, negative, latent(), **settings)
            pytest.fail(name)
    with pytest.raises(ValueError, match="^safe: it predicted"):
        pack.strip(model, positive, safe, negative, latent(), levels=f"0, {safety}", schedule=pack.schedule(), steps=2)


def test_under_a_patch_of_the_cross_attention_full_safety_is_stock_under_safe_and_one_call_more(pack, eps, prompts):
    positive, safe, negative = prompts
    model = eps.clone()
    model.set_model_attn2_patch(lambda q, k, v, options: (q, 0.9 * k, v))
    plain = stock(model, safe, negative, latent(), steps=3)
    for name in ("ksampler", "custom"):
        with count_rows(model) as rows:
            ours = getattr(pack, name)(
                model, positive, safe, negative, latent(), safety=1.0, schedule=pack.schedule(), steps=3
            )
        assert torch.equal(ours, plain) and rows.rows == [2] * 4, name


def test_without_such_a_patch_one_call_shows_the_negatives_rows_first(pack, eps, prompts):
    with count_rows(eps) as rows:
        pack.ksampler(eps, *prompts, latent(), safety=0.5, schedule=pack.schedule(), steps=2)
    assert rows.cond_or_uncond == [[1, 0, 0]] * 2


def test_context_encode_marks_a_prompt_in_which_it_finds_nothing_unsafe(pack):
    """And a strength of 0 makes safe the prompt as written, without a mark: a sampler refuses it."""
    clip = with_few_anchors(planted(tiny_encoders.clip("SD1")))
    node = pack.nodes["SafelightContextEncode"]

    def encode(prompt, method, **inputs):
        return call(node, clip=clip, prompt=prompt, concepts="weapon, blood", method=method, **inputs)

    for method in ("auto", "project"):
        positive, safe, risk, _ = encode("a cat on a table", method)
        assert all(extras[HARMLESS] for _, extras in safe) and torch.equal(safe[0][0], positive[0][0])
        positive, safe, risk, _ = encode("a cat and a knife", method)
        assert risk >= 0.5
        assert not any(HARMLESS in extras for _, extras in safe) and differs(safe[0][0], positive[0][0])
    positive, safe, *_ = encode("a cat and a knife", "project", strength=0.0)
    assert not any(HARMLESS in extras for _, extras in safe) and torch.equal(safe[0][0], positive[0][0])


def test_a_key_of_another_pack_is_noted_and_does_not_act_on_safe(pack, eps, prompts):
    positive, safe, negative = prompts
    given = [[states, {**extras, "some_packs_words": torch.ones(1)}] for states, extras in positive]
    settings = {"steps": 2, "schedule": pack.schedule()}
    _, report = pack.reported(eps, given, safe, negative, latent(), **settings)
    assert [note for note in report["notes"] if note.startswith("safe: `some_packs_words` of positive")]
    _, report = pack.reported(eps, positive, safe, negative, latent(), **settings)
    assert report["notes"] == []
