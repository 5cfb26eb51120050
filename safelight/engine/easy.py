"""What Safelight Easy does around the sampler: the prompt, the latent to begin with, the pictures to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine import host
from safelight.engine.context import Context
from safelight.engine.context_encode import encode_context
from safelight.engine.encoder import encode_prompt
from safelight.engine.ksampler import SamplingJob
from safelight.engine.made_for import MadeFor
from safelight.engine.pictures import decoded, save_previews
from safelight.engine.run_record import RunRecord
from safelight.text.conditioning import as_harmless
from safelight.text.safe_prompt import REWRITE, NoSafePrompt, Verdict
from safelight.views import heat_map
from safelight.views.findings import KEEP

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP, VAE


def read_prompt(clip: CLIP, prompt: str, safety: float, safe_prompt: str, concepts: str, stand_ins: str) -> Context:
    """The prompt and its safe counterpart. At safety 0 a prompt that can't be rewritten is no error: nothing is guarded
    there anyway."""
    try:
        return encode_context(clip, prompt, safe_prompt, concepts, stand_ins=stand_ins)
    except NoSafePrompt as error:
        if safety:
            raise
        positive = encode_prompt(clip, prompt)
        return Context(positive, as_harmless(positive), Verdict(1.0, REWRITE, notes=(str(error),)))


def choose(
    kind: MadeFor, width: int, height: int, cfg: float, image: torch.Tensor | None
) -> tuple[MadeFor, tuple[str, ...]]:
    """Size and cfg for a run, and notes on what Safelight chose: 0 stands for what the model is made for."""
    chosen = replace(kind, width=width or kind.width, height=height or kind.height, cfg=cfg or kind.cfg)
    words = [] if image is not None or (width and height) else [f"{chosen.width} x {chosen.height} pixels"]
    words += [] if cfg else [f"cfg {chosen.cfg:g}"]
    notes = []
    if words and kind.name:
        notes.append(f"{', '.join(words)}: what {kind.name} is made for.")
    elif words:
        notes.append(
            f"{', '.join(words)}: a guess, since this kind of model is not known. Set width, height and cfg if the "
            "picture looks wrong."
        )
    if kind.video:
        notes.append(
            f"{kind.name} is a video model, and this is one frame, a still. For a video take Safelight Context Encode "
            "and Safelight KSampler."
        )
    return chosen, tuple(notes)


def empty_latent(model: ModelPatcher, vae: VAE, width: int, height: int, batch_size: int) -> dict[str, Any]:
    """The LATENT that the host's empty latent nodes give for this model, of one frame. width, height: in pixels.

    Raises ValueError, naming the input, for a model of sound or shapes, and for a size without a latent cell.
    """
    if getattr(model.get_model_object("latent_format"), "latent_dimensions", 2) < 2:
        raise ValueError(
            f"model: expected a model that draws pictures, got {type(model.model).__name__}. Take Safelight Context "
            "Encode and Safelight KSampler with the empty latent that this model needs."
        )
    ratio = host.spatial_ratio(vae)
    for name, side in (("width", width), ("height", height)):
        if side < ratio:
            raise ValueError(
                f"{name}: expected 0 or at least {ratio} pixels, got {side}. Set 0 for what the model is made for."
            )
    samples = host.to_intermediate(torch.zeros(batch_size, 4, height // ratio, width // ratio))
    return {"samples": host.fix_empty_latent(model, {"samples": samples})}


def encoded(vae: VAE, image: torch.Tensor, batch_size: int) -> dict[str, Any]:
    """The LATENT of a picture [N, H, W, C], each of the N `batch_size` times in turn."""
    pixels = image[..., :3]
    samples = vae.encode(pixels)
    if samples.ndim == 5 and len(pixels) > 1:  # a VAE for videos, to which they are one video's frames
        samples = torch.cat([vae.encode(picture) for picture in pixels.split(1)])
    return {"samples": torch.cat([samples] * batch_size)}


@dataclass(frozen=True)
class Views:
    """What a run is shown by, [N, H, W, 3] each. before: the plain pictures, `after` where there is no other. map:
    where they differ; of a run without a comparison where safety acted.

    report: the run's, with what the comparison cost. steered, compared: whether there is a map, another `before`.
    """

    before: torch.Tensor
    after: torch.Tensor
    map: torch.Tensor
    report: str
    steered: bool
    compared: bool

    def ui(self) -> dict[str, Any]:
        """`images` is what every page shows; `safelight_pictures` names them all for the pack's own scripts."""
        shown = {"after": save_previews(self.after)}
        if self.compared:
            shown["before"] = save_previews(self.before)
        if self.steered:
            shown["map"] = save_previews(self.map)
        return {
            "images": shown["after"],
            "safelight_pictures": [json.dumps(shown)],
            "safelight_report": [self.report],
        }


def views_of(job: SamplingJob, vae: VAE, outcome: tuple[Any, ...], steps: int, compare: bool) -> Views:
    """outcome: the result of a sampler node for this job. compare: whether to make the plain pictures too, for which
    the model evaluates only what it did not for the others."""
    latent, text, trace, _ = outcome
    report, after = json.loads(text), decoded(vae, latent["samples"])
    steered = _is_steered(report)
    if not (steered and compare):
        heat = heat_map.heat(trace, *after.shape[:3])
        return Views(after, after, heat_map.heat_map(heat, after), text, steered, False)
    plain, record = _plain_run(job, steps)
    before = decoded(vae, plain["samples"])
    hidden = _hidden_pictures(report)
    before[hidden] = after[hidden]
    heat = heat_map.heat_of(_difference(job, latent, plain), *after.shape[:3])
    report["compare"] = {"rows": record.rows, "remembered_rows": record.remembered_rows}
    report["notes"].append(f"The plain picture to compare with took {record.rows} rows more.")
    return Views(before, after, heat_map.heat_map(heat, after), json.dumps(report), True, True)


def _is_steered(report: dict[str, Any]) -> bool:
    """Whether safety acted on a picture of the run. Where it did not the pictures are the plain ones."""
    if "look" in report:
        return any(picture["safety"] for picture in report["look"]["pictures"])
    return not report["harmless"] and any(call["w"] for call in report["weights"])


def _plain_run(job: SamplingJob, steps: int) -> tuple[dict[str, Any], RunRecord]:
    """The LATENT of the stock run of a job that has run already."""
    assert job.memory is not None
    job.memory.needed = []  # a look may have left some pictures out
    record = RunRecord()
    samples = job.sample(None, record, host.preview_callback(job.model, steps))
    return host.output_latent(job.latent, host.to_intermediate(samples)), record


def _difference(job: SamplingJob, *latents: dict[str, Any]) -> torch.Tensor:
    """The root mean square of the difference of two latents over the channels, [B, (frames,) h, w]."""
    a, b = (job.model.model.process_latent_in(latent["samples"].float()) for latent in latents)
    return (a - b).square().mean(dim=1).sqrt()


def _hidden_pictures(report: dict[str, Any]) -> list[int]:
    """The pictures that were blurred or blanked, since no level let them pass: their plain ones are not to be seen."""
    if "look" not in report or report["look"]["hide"] == KEEP:
        return []
    return [i for i, picture in enumerate(report["look"]["pictures"]) if not picture["passed"]]
