"""The stages of training that make the demo world's two detectors."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from . import world
from .detector import CELL, Detector
from .glance import Glance
from .stages import committed_autoencoder
from .training_run import TrainingRun, autocast


def degrade(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with blur, noise or lost resolution, at random."""
    kind = rng.random()
    batch = torch.from_numpy(picture).movedim(-1, 0)[None]
    if kind < 0.35:
        sigma = rng.uniform(0.4, 2.0)
        taps = torch.exp(-torch.arange(-4.0, 5).square() / (2 * sigma**2))
        taps = (taps / taps.sum()).expand(3, 1, 1, 9)
        batch = F.conv2d(F.pad(batch, (4, 4, 0, 0), mode="replicate"), taps, groups=3)
        batch = F.conv2d(F.pad(batch, (0, 0, 4, 4), mode="replicate"), taps.mT, groups=3)
    elif kind < 0.5:
        side = int(rng.integers(36, 80))
        batch = F.interpolate(F.interpolate(batch, (side, side), mode="area"), batch.shape[-2:], mode="bilinear")
    if rng.random() < 0.4:
        batch = batch + rng.uniform(0, 0.1) * torch.from_numpy(rng.normal(size=batch.shape).astype(np.float32))
    return batch[0].movedim(0, -1).clamp(0, 1).numpy()


def ghost_scene(rng: np.random.Generator, opacity: float | None = None) -> tuple[world.Scene, tuple[float, ...]]:
    """A scene with one more thing over the first, half transparent (30 to 70 %)."""
    scene = world.random_scene(rng)
    below = scene.objects[0]
    rest = [t for t in world.THINGS if all(t is not p.thing for p in scene.objects)]
    size = int(rng.choice(world.GLYPH_SIZES))
    low, high = size / 2 + 1, world.SIZE - size / 2 - 1
    x, y = (float(np.clip(v + rng.normal(0, 5), low, high)) for v in (below.x, below.y))
    above = world.Placed(rest[rng.integers(len(rest))], x, y, size)
    objects = (*scene.objects, above)
    return world.Scene(objects, scene.colour), (*[1.0] * len(scene.objects), opacity or float(rng.uniform(0.3, 0.7)))


def detector(options: argparse.Namespace) -> None:
    """Detector: focal loss on a Gaussian bump at each object's centre, cross entropy for the colour."""
    device = options.device
    torch.manual_seed(options.seed)
    net = Detector().to(device)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    run = TrainingRun("detector", options.folder, options.detector_steps, {"net": net, "optimiser": optimiser}, 2e-3)
    cells = torch.arange(world.SIZE // CELL, device=device) * CELL + CELL / 2
    colours = list(world.COLOURS)

    def update(step: int) -> dict[str, float]:
        rng = np.random.default_rng((options.seed, 3, step))
        drawn = [ghost_scene(rng) if rng.random() < 0.4 else (world.random_scene(rng), ()) for _ in range(32)]
        images = [world.render(scene, rng, opacity) for scene, opacity in drawn]
        images = [degrade(image, rng) if rng.random() < 0.6 else image for image in images]
        batch = torch.from_numpy(np.stack(images)).movedim(-1, 1).to(device)
        target = torch.zeros(len(drawn), len(world.THINGS), len(cells), len(cells), device=device)
        for i, (scene, _) in enumerate(drawn):
            for p in scene.objects:
                bump = torch.exp(-((cells[:, None] - p.y) ** 2 + (cells[None] - p.x) ** 2) / (2 * 5.0**2))
                row, column = int(p.y // CELL), int(p.x // CELL)
                bump[row, column] = 1.0
                target[i, world.INDEX[p.thing.noun]] = torch.maximum(target[i, world.INDEX[p.thing.noun]], bump)
        with autocast(device):
            logits, colour = net(batch)
        logits = logits.float()
        score = logits.sigmoid()
        centres = target == 1
        # CornerNet's variant of the focal loss: cells near a centre are punished less.
        hit = -((1 - score) ** 2 * F.logsigmoid(logits))[centres].sum()
        miss = -((1 - target) ** 4 * score**2 * F.logsigmoid(-logits))[~centres].sum()
        hue = F.cross_entropy(colour.float(), torch.tensor([colours.index(s.colour) for s, _ in drawn], device=device))
        loss = (hit + miss) / centres.sum() + 0.2 * hue
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        return {"loss": loss.item(), "recall": (score[centres] > 0.5).float().mean().item(), "hue": hue.item()}

    run.loop(update)
    net.calibration.copy_(_calibration(lambda batch: net(batch)[0].flatten(2).amax(2), options))
    torch.save(net.state_dict(), options.folder / "detector.pt")


def _present(scenes: list[world.Scene]) -> torch.Tensor:
    """[B, things]: 1 where a thing is in a scene, else 0."""
    there = torch.zeros(len(scenes), len(world.THINGS))
    for i, scene in enumerate(scenes):
        there[i, [world.INDEX[p.thing.noun] for p in scene.objects]] = 1
    return there


def _calibration(logits_of: Callable[[torch.Tensor], torch.Tensor], options: argparse.Namespace) -> torch.Tensor:
    """Platt scaling, slope and offset, of a picture's logits [B, things], on plain and degraded renders, half of them
    with a ghost."""
    rng = np.random.default_rng((options.seed, 6))
    best, present = [], []
    for _ in range(40):
        drawn = [ghost_scene(rng) if rng.random() < 0.5 else (world.random_scene(rng), ()) for _ in range(25)]
        scenes = [scene for scene, _ in drawn]
        images = [world.render(scene, rng, opacity) for scene, opacity in drawn]
        images = [degrade(image, rng) if rng.random() < 0.5 else image for image in images]
        with torch.no_grad():
            logits = logits_of(torch.from_numpy(np.stack(images)).movedim(-1, 1).to(options.device))
        best.append(logits.double().cpu())
        present.append(_present(scenes).double())
    logits, truth = torch.cat(best), torch.cat(present)
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(logits * line[0] + line[1], truth)
        loss.backward()
        return loss

    optimiser.step(closure)
    return line.detach()


def glances(options: argparse.Namespace, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Renders, bytes [count, 3, SIZE, SIZE], every second one rebuilt from a noisy latent, as the model's predictions
    look on the way to a picture; and what they show, [count, things]. Made once."""
    rng, autoencoder = np.random.default_rng((options.seed, 7)), committed_autoencoder(options)
    torch.manual_seed(options.seed + 2)
    pictures, there = [], []
    for _ in tqdm(range(0, count, 48), desc="renders"):
        drawn = [ghost_scene(rng) if rng.random() < 0.5 else (world.random_scene(rng), ()) for _ in range(48)]
        batch = torch.from_numpy(np.stack([world.render(scene, rng, opacity) for scene, opacity in drawn]))
        batch = batch.movedim(-1, 1).to(options.device)
        with torch.no_grad(), autocast(options.device):
            latents = autoencoder.encode(batch[::2] * 2 - 1)
            amount = 0.6 * torch.rand(len(latents), 1, 1, 1, device=options.device) ** 2
            blurred = F.avg_pool2d(F.pad(latents, [1] * 4, mode="replicate"), 3, 1)
            soft = torch.rand(len(latents), 1, 1, 1, device=options.device) < 0.3
            latents = torch.where(soft, blurred, latents) + amount * torch.randn_like(latents)
            batch[::2] = autoencoder.decode(latents).float() * 0.5 + 0.5
        pictures.append((batch.clamp(0, 1) * 255).round().byte().cpu())
        there.append(_present([scene for scene, _ in drawn]))
    return torch.cat(pictures), torch.cat(there)


def glance(options: argparse.Namespace) -> None:
    """The second detector: cross entropy for what a picture shows; see demo/glance.py for its renders. Colours, light
    and noise are drawn anew for every use."""
    device = options.device
    torch.manual_seed(options.seed + 1)
    net = Glance().to(device, memory_format=torch.channels_last)
    pictures, shown = glances(options, options.renders)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    run = TrainingRun("glance", options.folder, options.glance_steps, {"net": net, "optimiser": optimiser}, 2e-3)

    def update(step: int) -> dict[str, float]:
        torch.manual_seed(options.seed * 1_000_003 + step)
        chosen = torch.randint(len(pictures), (48,))
        batch, there = pictures[chosen].to(device).float() / 255, shown[chosen].to(device)
        tint = 1 + 0.08 * torch.randn(len(batch), 3, 1, 1, device=device)
        light = 0.06 * torch.randn(len(batch), 1, 1, 1, device=device)
        batch = (batch * tint + light + 0.02 * torch.randn_like(batch)).clamp(0, 1)
        with autocast(device):
            cells = net(batch.contiguous(memory_format=torch.channels_last))
        logits = net.logits(cells.float())
        loss = F.binary_cross_entropy_with_logits(logits, there, reduction="sum") / len(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        seen = logits.detach() > 0
        return {
            "loss": loss.item(),
            "recall": seen[there > 0].float().mean().item(),
            "wrong": seen[there == 0].float().sum().item() / len(batch),
        }

    run.loop(update)
    net.calibration.copy_(_calibration(lambda batch: net.logits(net(batch)), options))
    torch.save(net.state_dict(), options.folder / "glance.pt")
