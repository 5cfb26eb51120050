"""Single calls with more conditionings than a stock run has, and the hooks that come after them."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from safelight.engine.cond_batch import apply_cfg, calc_denoised
from safelight.engine.run_record import RunRecord

X, SIGMA = torch.zeros(1, 4, 2, 2), torch.tensor([2.0])


def call(cfg=1.0, **model_options):
    guider = SimpleNamespace(cfg=cfg)
    return SimpleNamespace(guider=guider, x=X, sigma=SIGMA, model=None, model_options=model_options)


def test_another_packs_evaluation_of_pairs_gives_every_conditioning_its_own_prediction():
    """The first two as a pair, each other one alone; the rows of the others are beyond a stock run's."""
    record, pairs = RunRecord(), []

    def by_pairs(args):
        pairs.append(args["conds"])
        record.rows += sum(cond is not None for cond in args["conds"])
        return [X if cond is None else X + cond[0]["number"] for cond in args["conds"]]

    conds = [[{"number": number}] for number in (1, 2, 3, 4)]
    predictions = calc_denoised(call(sampler_calc_cond_batch_function=by_pairs), conds, record)
    assert [float(prediction.unique()) for prediction in predictions] == [1.0, 2.0, 3.0, 4.0]
    assert pairs == [conds[:2], [conds[2], None], [conds[3], None]]
    assert (record.rows, record.plain_rows) == (4, 2)


def test_hooks_before_guidance_each_get_what_the_one_before_gave():
    cond, uncond, seen = [{"number": 1}], [{"number": 2}], []

    def doubled(args):
        seen.append((args["conds"], [float(d.unique()) for d in args["conds_out"]]))
        return [2 * denoised for denoised in args["conds_out"]]

    def raised(args):
        seen.append((args["conds"], [float(d.unique()) for d in args["conds_out"]]))
        return [denoised + 1 for denoised in args["conds_out"]]

    hooked = call(3.0, sampler_pre_cfg_function=[doubled, raised])
    guided = apply_cfg(hooked, (cond, uncond), X + 5.0, X + 1.0)
    assert seen == [([cond, uncond], [5.0, 1.0]), ([cond, uncond], [10.0, 2.0])]
    assert float(guided.unique()) == 3.0 + 3.0 * (11.0 - 3.0)
    assert float(apply_cfg(call(3.0), (cond, uncond), X + 5.0, X + 1.0).unique()) == 1.0 + 3.0 * (5.0 - 1.0)
