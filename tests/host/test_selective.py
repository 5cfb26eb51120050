"""Safelight Selective: the safe prompt steers in the chosen cells, and the prompt as written stands in all others."""

from __future__ import annotations

import comfy.model_base
import pytest
import torch
from host import SAMPLERS, SETTINGS, call, count_rows, has_wrappers, require, stock
from test_identity import cancel_at
from tiny_models import conditioning, latent, sd3_model, video_model

MODES = ["soft threshold", "quantile"]
ROUGH = {"smooth": 0, "grow": 0}
FEW = [name for name in ("euler", "heun", "dpmpp_2m_sde", "dpm_2", "uni_pc", "lcm") if name in SAMPLERS]


def choose(pack, mode="soft threshold", **settings):
    """A SAFELIGHT_SELECTIVE as its node makes it; what is not given is the node's default."""
    declared = pack.nodes["SafelightSelective"].INPUT_TYPES()["required"]
    given = {name: spec[1]["default"] for name, spec in declared.items()}
    return call(pack.nodes["SafelightSelective"], **{**given, "mode": mode, **settings})[0]


def one_call(pack, model, prompts, latent_image, **settings):
    """The latent of a run of a single step: one call of the model, in which every cell is for itself."""
    settings = {"steps": 1, "sampler_name": "euler", "schedule": pack.schedule(), "safety": 1.0, **settings}
    return pack.ksampler(model, *prompts, latent_image, **settings)


def a_cell(latent_image, row=0, column=0):
    """A mask of one latent cell: the guided run of three rows whose other cells are all the written prompt's."""
    samples = latent_image["samples"]
    mask = torch.zeros(1, samples.shape[-2] * 8, samples.shape[-1] * 8)
    mask[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 1.0
    return mask


def changed(a, b):
    """The cells in which two latents differ in any bit, [B, ...]."""
    return (a != b).any(dim=1)


# --- what it leaves alone


@pytest.mark.parametrize("off", [{"safety": 0.0}, {"safety": 1.0, "risk": 0.1}])
@pytest.mark.parametrize("mode", MODES)
def test_selective_and_not_guided_is_the_stock_ksampler(pack, eps, prompts, mode, off):
    with count_rows(eps) as stock_rows:
        plain = stock(eps, prompts[0], prompts[2], latent(batch=2))
    with count_rows(eps) as own_rows:
        ours = pack.ksampler(eps, *prompts, latent(batch=2), selective=choose(pack, mode), **off)
    assert torch.equal(ours, plain)
    assert own_rows == stock_rows


@pytest.mark.parametrize("safety", [0.4, 1.0])
@pytest.mark.parametrize(("kind", "channels"), [("eps", 4), ("flow", 16)])
def test_outside_the_chosen_share_every_bit_is_the_written_prompts(pack, eps, prompts, kind, channels, safety):
    """A quarter of the cells changes, one sample like the other; the rest equals a run guided in one cell alone."""
    model = eps if kind == "eps" else sd3_model()
    given = latent(channels, batch=2, seed=3)
    written = one_call(pack, model, prompts, given, safety=safety, mask=a_cell(given))
    ours = one_call(
        pack, model, prompts, given, safety=safety, selective=choose(pack, "quantile", quantile=0.75, **ROUGH)
    )
    everywhere = one_call(pack, model, prompts, given, safety=safety, selective=choose(pack, "quantile", quantile=0.0))
    cells = changed(ours, written)
    cells[:, 0, 0] = changed(ours, everywhere)[:, 0, 0].logical_not()  # the cell that the other run guides
    assert cells.flatten(1).sum(dim=1).tolist() == [cells[0].numel() // 4] * 2
    assert changed(everywhere, written).flatten(1).sum(dim=1).min() >= cells[0].numel() - 1
    assert torch.equal(ours.movedim(1, -1)[cells], everywhere.movedim(1, -1)[cells])


def test_selective_in_frames_of_a_video(pack):
    require(hasattr(comfy.model_base, "WAN21"), "Wan")
    model, texts = video_model(), (conditioning(1), conditioning(2), conditioning(3))
    given = latent(16, frames=3)
    written = one_call(pack, model, texts, given, mask=a_cell(given))
    ours, everywhere = (
        one_call(pack, model, texts, given, selective=choose(pack, "quantile", quantile=share, **ROUGH))
        for share in (0.75, 0.0)
    )
    cells = changed(ours, written)
    cells[..., 0, 0] = changed(ours, everywhere)[..., 0, 0].logical_not()
    assert cells.shape[1:] == given["samples"].shape[2:]
    assert int(cells.sum()) == cells.numel() // 4


# --- what it costs


def test_full_weight_with_selective_takes_three_rows(pack, eps, prompts):
    settings = {"safety": 1.0, "schedule": pack.schedule()}
    with count_rows(eps) as seen:
        ours, report = pack.reported(eps, *prompts, latent(batch=2), selective=choose(pack), **settings)
    assert seen.rows == [3 * 2] * 6
    assert (report["rows"], report["plain_rows"]) == (3 * 2 * 6, 2 * 2 * 6)
    assert report["selective"]["mode"] == "soft threshold"
    for plain in (
        stock(eps, prompts[0], prompts[2], latent(batch=2)),
        pack.ksampler(eps, *prompts, latent(batch=2), **settings),
    ):
        assert torch.linalg.norm(ours - plain) > 1e-3 * torch.linalg.norm(plain)


def test_calls_before_the_context_stay_the_stock_ones(pack, eps, prompts):
    with count_rows(eps) as seen:
        pack.ksampler(eps, *prompts, latent(), safety=1.0, selective=choose(pack), schedule=pack.schedule(context=0.5))
    guided = [rows for rows in seen.rows if rows == 3]
    assert seen.rows == [2] * (6 - len(guided)) + guided and 0 < len(guided) < 6


# --- with everything else


@pytest.mark.parametrize("safety", [0.8, 1.0])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_selective_is_the_same_by_every_node(pack, eps, prompts, mode, adaptive, safety):
    settings = {"safety": safety, "selective": choose(pack, mode, adaptive=adaptive), "schedule": pack.schedule()}
    ours = pack.ksampler(eps, *prompts, latent(batch=2), **settings)
    ways = [pack.custom, *([pack.patched] if has_wrappers() else [])]
    for sample in ways:
        assert torch.equal(sample(eps, *prompts, latent(batch=2), **settings), ours)
    by_stages = {
        "noise_seed": SETTINGS["seed"],
        "steps": SETTINGS["steps"],
        "cfg": SETTINGS["cfg"],
        "sampler_name": SETTINGS["sampler_name"],
        "scheduler": SETTINGS["scheduler"],
    }
    assert torch.equal(pack.advanced(eps, *prompts, latent(batch=2), **by_stages, **settings), ours)


@pytest.mark.parametrize("mode", MODES)
def test_a_selective_batch_is_what_each_picture_alone_is(pack, eps, prompts, mode):
    settings = {
        "safety": 1.0,
        "selective": choose(pack, mode, grow=1, adaptive=True),
        "schedule": pack.schedule(),
        "steps": 3,
    }
    whole = pack.ksampler(eps, *prompts, latent(batch=3), **settings)
    for i in range(3):
        alone = pack.ksampler(eps, *prompts, {**latent(), "batch_index": [i]}, **settings)
        assert torch.allclose(whole[i : i + 1], alone, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize("sampler_name", FEW)
def test_selective_with_samplers(pack, eps, prompts, sampler_name):
    settings = {"sampler_name": sampler_name, "steps": 4, "cfg": 3.0}
    plain = stock(eps, prompts[0], prompts[2], latent(), **settings)
    for mode in MODES:
        ours = pack.ksampler(eps, *prompts, latent(), safety=1.0, selective=choose(pack, mode), **settings)
        assert torch.isfinite(ours).all() and not torch.equal(ours, plain)


def test_the_artists_mask_bounds_what_selective_chooses(pack, eps, prompts):
    """Half of the picture may change: a quarter of that half does, and nothing beside it."""
    given = latent(seed=3)
    half = torch.zeros(1, 64, 64)
    half[:, :, 32:] = 1.0
    written = one_call(pack, eps, prompts, given, mask=a_cell(given))
    ours = one_call(pack, eps, prompts, given, mask=half, selective=choose(pack, "quantile", quantile=0.75, **ROUGH))
    cells = changed(ours, written)[0]
    assert cells[0, 0]  # the other run's own
    cells[0, 0] = False
    assert not cells[:, :4].any()
    assert int(cells[:, 4:].sum()) == 8
    wide = one_call(pack, eps, prompts, given, mask=half, selective=choose(pack, "quantile", quantile=0.0, grow=2))
    assert torch.equal(wide, one_call(pack, eps, prompts, given, mask=half)), "grown over the mask's edge"


def test_selective_where_one_prompt_reaches_half_of_the_picture(pack, eps, prompts):
    """The safe prompt's mask covers the right half: cells are chosen among those cells, and the left one stays."""
    positive, _, negative = prompts
    half = torch.zeros(1, 64, 64)
    half[:, :, 32:] = 1.0
    safe, given = conditioning(12, mask=half, mask_strength=1.0, set_area_to_bounds=False), latent(seed=3)
    texts = positive, safe, negative
    none, other = (one_call(pack, eps, texts, given, mask=a_cell(given, row, 7)) for row in (0, 1))
    none[..., 0, 7] = other[..., 0, 7]  # so that no cell is the safe prompt's
    ours = one_call(pack, eps, texts, given, selective=choose(pack, "quantile", quantile=0.75, **ROUGH))
    cells = changed(ours, none)[0]
    assert not cells[:, :4].any()
    assert int(cells.sum()) == 8


def test_adaptive_without_a_negative_prediction_says_that_it_scales_nothing(pack, eps, prompts):
    settings = {"safety": 1.0, "cfg": 1.0}
    ours, report = pack.reported(eps, *prompts, latent(), selective=choose(pack, adaptive=True), **settings)
    plain, silent = pack.reported(eps, *prompts, latent(), selective=choose(pack), **settings)
    _, scaled = pack.reported(eps, *prompts, latent(), selective=choose(pack, adaptive=True), safety=1.0)
    assert torch.equal(ours, plain)
    said = [sum(note.startswith("adaptive: ") for note in run["notes"]) for run in (report, silent, scaled)]
    assert said == [1, 0, 0]


def test_adaptive_guides_less(pack, eps, prompts):
    given = latent(seed=3)
    written = one_call(pack, eps, prompts, given, mask=a_cell(given))
    whole, less = (
        one_call(pack, eps, prompts, given, selective=choose(pack, "quantile", adaptive=adaptive))
        for adaptive in (False, True)
    )
    share = torch.linalg.norm(less - written) / torch.linalg.norm(whole - written)
    assert 0.5 <= share < 0.999


# --- no state, no silence


def test_a_run_after_a_cancelled_selective_one_is_undisturbed(pack, eps, prompts):
    settings = {"safety": 1.0, "selective": choose(pack, adaptive=True)}
    ways = [pack.ksampler, pack.custom, *([pack.patched] if has_wrappers() else [])]
    for sample in ways:
        undisturbed = sample(eps, *prompts, latent(), **settings)
        with cancel_at(eps, 4):
            sample(eps, *prompts, latent(), **settings)
        assert torch.equal(sample(eps, *prompts, latent(), **settings), undisturbed)


def test_selective_with_separate_trajectories_is_an_error_that_names_it(pack, eps, prompts):
    with pytest.raises(ValueError, match="^selective: .*merge"):
        pack.ksampler(eps, *prompts, latent(), safety=0.5, merge="separate", selective=choose(pack))
    stock_like = pack.ksampler(eps, *prompts, latent(), safety=0.0, merge="separate", selective=choose(pack))
    assert torch.equal(stock_like, stock(eps, prompts[0], prompts[2], latent()))


def test_something_else_at_selective_is_an_error_that_names_it(pack, eps, prompts):
    with pytest.raises(ValueError, match="^selective: "):
        pack.ksampler(eps, *prompts, latent(), safety=0.5, selective={"mode": "quantile"})
