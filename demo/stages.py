"""The stages of training: picture autoencoder, detector, text-to-image model, and the export of the weights."""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from . import model, world
from .autoencoder import Autoencoder
from .detector import CELL, WEIGHTS, Detector
from .training_run import TrainingRun


def pictures(count: int, rng: np.random.Generator) -> tuple[list[world.Scene], torch.Tensor]:
    scenes = [world.random_scene(rng) for _ in range(count)]
    return scenes, torch.from_numpy(np.stack([world.render(s, rng) for s in scenes])).movedim(-1, 1)


def crops(scenes: list[world.Scene], batch: torch.Tensor, side: int, rng: np.random.Generator) -> torch.Tensor:
    """One crop of each picture, at a random place over an object, because plain background teaches little."""
    out = []
    for scene, picture in zip(scenes, batch, strict=True):
        placed = scene.objects[rng.integers(len(scene.objects))]
        top, left = (int(np.clip(v - rng.uniform(8, side - 8), 0, world.SIZE - side)) for v in (placed.y, placed.x))
        out.append(picture[:, top : top + side, left : left + side])
    return torch.stack(out)


def edges(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]


def vae(options: argparse.Namespace) -> None:
    """Autoencoder: L1 loss on pixels and edges. Latents are kept small and get noise, like the model's later errors."""
    device = options.device
    torch.manual_seed(options.seed)
    net = Autoencoder().to(device)
    optimiser = torch.optim.AdamW(net.parameters(), 1.5e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    run = TrainingRun("vae", options.folder, options.vae_steps, {"net": net, "optimiser": optimiser}, 1.5e-3)

    def update(step: int) -> dict[str, float]:
        rng = np.random.default_rng((options.seed, 1, step))
        scenes, batch = pictures(32, rng)
        batch = crops(scenes, batch, 56, rng).to(device)
        with torch.autocast(device, torch.bfloat16):
            latents = net.encode(batch * 2 - 1)
            rebuilt = net.decode(latents + 0.05 * torch.randn_like(latents)).float() * 0.5 + 0.5
        error = F.l1_loss(rebuilt, batch)
        edge = sum(F.l1_loss(a, b) for a, b in zip(edges(rebuilt), edges(batch), strict=True))
        loss = error + 0.7 * edge + 1e-3 * latents.float().square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        return {"l1": error.item(), "psnr": -10 * float(torch.log10(F.mse_loss(rebuilt, batch).detach()))}

    run.loop(update)
    with torch.no_grad():
        _, batch = pictures(512, np.random.default_rng((options.seed, 2)))
        latents = torch.cat([net.encode(part.to(device) * 2 - 1) for part in batch.split(64)])
        net.mean.copy_(latents.mean((0, 2, 3))[:, None, None])
        net.deviation.copy_(latents.std((0, 2, 3))[:, None, None])
    torch.save(net.state_dict(), options.folder / "vae.pt")


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
        with torch.autocast(device, torch.bfloat16):
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
    _calibrate(net, options)
    torch.save(net.state_dict(), options.folder / "detector.pt")


def _calibrate(net: Detector, options: argparse.Namespace) -> None:
    """Platt scaling of the best cell's logit, on plain and degraded renders, half of them with a ghost."""
    rng = np.random.default_rng((options.seed, 6))
    best, present = [], []
    for _ in range(40):
        drawn = [ghost_scene(rng) if rng.random() < 0.5 else (world.random_scene(rng), ()) for _ in range(25)]
        scenes = [scene for scene, _ in drawn]
        images = [world.render(scene, rng, opacity) for scene, opacity in drawn]
        images = [degrade(image, rng) if rng.random() < 0.5 else image for image in images]
        with torch.no_grad():
            logits, _ = net(torch.from_numpy(np.stack(images)).movedim(-1, 1).to(options.device))
        best.append(logits.flatten(2).amax(2).double().cpu())
        there = torch.zeros(len(scenes), len(world.THINGS), dtype=torch.float64)
        for i, scene in enumerate(scenes):
            there[i, [world.INDEX[p.thing.noun] for p in scene.objects]] = 1
        present.append(there)
    logits, truth = torch.cat(best), torch.cat(present)
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(logits * line[0] + line[1], truth)
        loss.backward()
        return loss

    optimiser.step(closure)
    net.calibration.copy_(line.detach())


class Captioner:
    """Turns captions into token ids (CLIP's, mapped to compact rows) and the meanings of each mention's last token."""

    def __init__(self) -> None:
        from comfy.sd1_clip import SDTokenizer

        tokenizer = SDTokenizer()
        words = world.vocabulary()
        self.tokens = {w: [t for t, _ in tokenizer.tokenize_with_weights(w)[0][1:] if t != 49407] for w in words}
        self.ids = sorted({i for ids in self.tokens.values() for i in ids} | {49406, 49407})
        self.row = {token: row for row, token in enumerate(self.ids)}

    def rows(self, parts: list[str | world.Mention]) -> tuple[list[int], dict[int, world.Mention]]:
        """77 rows (start, words, then end tokens as the host pads) and the mentions by their last position."""
        out, marks = [self.row[49406]], {}
        for part in parts:
            for word in (part if isinstance(part, str) else part.text).split():
                out += [self.row[t] for t in self.tokens[word]]
            if not isinstance(part, str):
                marks[len(out) - 1] = part
        return out + [self.row[49407]] * (77 - len(out)), marks


class Meanings(torch.nn.Module):
    """A head that reads from a mention's state which objects and kinds it may mean.

    Contrastive encoders learn this from pictures at scale. Here it is a small loss beside the denoiser's, and the head
    is thrown away after training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.things = torch.nn.Linear(model.CONTEXT, len(world.THINGS))
        self.kinds = torch.nn.Linear(model.CONTEXT, len(world.KINDS))

    def loss(self, states: torch.Tensor, mentions: list[world.Mention]) -> torch.Tensor:
        things = torch.zeros(len(mentions), len(world.THINGS), device=states.device)
        kinds = torch.zeros(len(mentions), len(world.KINDS), device=states.device)
        for i, mention in enumerate(mentions):
            things[i, list(mention.things)] = 1 / len(mention.things)
            for kind in mention.kinds:
                if kind in world.KINDS:
                    kinds[i, world.KINDS.index(kind)] = 1
        return F.cross_entropy(self.things(states), things) + F.binary_cross_entropy_with_logits(
            self.kinds(states), kinds
        )


def committed(name: str) -> dict[str, torch.Tensor]:
    """Weights from demo/weights, in single precision."""
    from safetensors.torch import load_file

    tensors = load_file(str(WEIGHTS.parent / f"{name}.safetensors"))
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def noise_levels() -> torch.Tensor:
    """Cumulative alphas of Stable Diffusion's schedule, [1000]."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def networks(options: argparse.Namespace, captioner: Captioner) -> tuple[torch.nn.ModuleDict, torch.nn.Module]:
    """The networks that are trained, and their running mean."""
    nets = torch.nn.ModuleDict(
        {
            "unet": model.build_unet(options.seed),
            "text": model.build_text_model(options.seed, len(captioner.ids)),
            "meanings": Meanings(),
        }
    ).to(options.device)
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    return nets, AveragedModel(nets, multi_avg_fn=get_ema_multi_avg_fn(0.999))


def latent_bank(options: argparse.Namespace, count: int) -> tuple[list[world.Scene], torch.Tensor]:
    """Scenes and their latents [count, 8, 12, 12], made once. Captions and noise are drawn anew for every use."""
    autoencoder = Autoencoder().to(options.device)
    trained = options.folder / "vae.pt"
    autoencoder.load_state_dict(torch.load(trained, weights_only=True) if trained.exists() else committed("vae"))
    rng = np.random.default_rng((options.seed, 5))
    scenes: list[world.Scene] = []
    latents = []
    with torch.no_grad(), torch.autocast(options.device, torch.bfloat16):
        for _ in tqdm(range(0, count, 64), desc="latents"):
            drawn, batch = pictures(64, rng)
            scenes += drawn
            latents.append(autoencoder.encode(batch.to(options.device) * 2 - 1).float())
    return scenes, torch.cat(latents)


def caption_batch(
    captioner: Captioner, scenes: list[world.Scene], rng: np.random.Generator
) -> tuple[torch.Tensor, list[tuple[int, int, world.Mention]]]:
    """Token rows [B, 77] (one caption in ten is empty) and the mentions with their places (row, position)."""
    rows, marks = [], []
    for i, scene in enumerate(scenes):
        ids, named = captioner.rows([] if rng.random() < 0.1 else world.random_caption(scene, rng))
        rows.append(ids)
        marks += [(i, place, mention) for place, mention in named.items()]
    return torch.tensor(rows), marks


def text_to_image(options: argparse.Namespace) -> None:
    """Noise prediction with min-SNR weights (Hang et al. 2023, gamma 5); trains text encoder and denoiser together."""
    device = options.device
    captioner = Captioner()
    scenes, bank = latent_bank(options, options.scenes)
    nets, mean = networks(options, captioner)
    if options.further:
        weights = committed("model")
        if weights.pop("token_ids").tolist() != captioner.ids:
            raise SystemExit(
                "--further: expected weights for the words of demo/world.py, got weights for other words. Train "
                "without --further."
            )
        nets.load_state_dict(weights, strict=False)  # all but the head that is thrown away
        mean.module.load_state_dict(nets.state_dict())
    optimiser = torch.optim.AdamW(nets.parameters(), 6e-4, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    state = {"nets": nets, "mean": mean, "optimiser": optimiser}
    run = TrainingRun("model", options.folder, options.model_steps, state, 6e-4)
    alphas = noise_levels().to(device)
    # Thin objects add little to the error and are learnt last, so scenes with less ink are drawn more often.
    thinness = {thing: 1 / world.ink(thing) for thing in world.THINGS}
    shares = np.array([np.mean([thinness[p.thing] for p in scene.objects]) for scene in scenes])
    shares /= shares.sum()
    if device == "cpu":
        # Plain attention trains these small maps in two thirds of the time (the flag also acts on CPUs). It is set
        # here because the host sets it on import.
        torch.backends.cuda.enable_flash_sdp(False)

    def update(step: int) -> dict[str, float]:
        rng = np.random.default_rng((options.seed, 4, step))
        torch.manual_seed(options.seed * 1_000_003 + step)
        chosen = rng.choice(len(scenes), 64, p=shares)
        rows, marks = caption_batch(captioner, [scenes[i] for i in chosen], rng)
        latents = bank[torch.from_numpy(chosen).to(device)]
        noise = torch.randn_like(latents)
        times = torch.randint(0, 1000, (len(latents),), device=device)
        alpha = alphas[times][:, None, None, None]
        with torch.autocast(device, torch.bfloat16):
            states = nets["text"](rows.to(device))[0]
            noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
            predicted = nets["unet"](noisy, times, context=states).float()
        signal = alpha / (1 - alpha)
        error = ((predicted - noise) ** 2 * (signal.clamp(max=5) / signal)).mean()
        named = torch.stack([states[i, place].float() for i, place, _ in marks])
        meaning = nets["meanings"].loss(named, [m for _, _, m in marks])
        optimiser.zero_grad(set_to_none=True)
        (error + 0.02 * meaning).backward()
        torch.nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimiser.step()
        if step < 1000:  # the mean leaves out the first thousand steps
            mean.n_averaged.zero_()
        mean.update_parameters(nets)
        return {"noise": error.item(), "meaning": meaning.item()}

    run.loop(update)


def export(options: argparse.Namespace) -> None:
    """Writes demo/weights from the checkpoints, in half precision."""
    from safetensors.torch import save_file

    captioner = Captioner()
    _, mean = networks(options, captioner)
    mean.load_state_dict(torch.load(options.folder / "model.ckpt", weights_only=True, map_location="cpu")["mean"])
    averaged = {k.removeprefix("module."): v for k, v in mean.state_dict().items() if k.startswith("module.")}
    tensors = {k: v for k, v in averaged.items() if k.startswith(("unet.", "text."))}
    tensors["token_ids"] = torch.tensor(captioner.ids)
    WEIGHTS.parent.mkdir(exist_ok=True)
    trained = {"model": tensors}
    for name in ("vae", "detector"):
        if (options.folder / f"{name}.pt").exists():
            trained[name] = torch.load(options.folder / f"{name}.pt", weights_only=True, map_location="cpu")
    for name, values in trained.items():
        half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in values.items()}
        save_file(half, str(WEIGHTS.parent / f"{name}.safetensors"))
