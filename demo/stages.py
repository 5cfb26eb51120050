"""The stages of training: picture autoencoder, text-to-image model, and the export of the weights."""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from . import model, world
from .autoencoder import Autoencoder
from .detector import WEIGHTS
from .training_run import TrainingRun, autocast


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
        with autocast(device):
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


ROWS = "text.text_model.embeddings.token_embedding.weight"
ON_THINGS = 3.0  # how much more an error counts where a thing stands: thin ones are small, and learnt last


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
                out += [self.row[t] for t in self.tokens[word.lower()]]
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


def _with_rows_of(
    captioner: Captioner, nets: torch.nn.ModuleDict, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Weights of a smaller vocabulary with the rows of this one: those of new tokens are the networks' own."""
    rows = nets.state_dict()[ROWS].clone()
    for row, token in zip(weights[ROWS], weights.pop("token_ids").tolist(), strict=True):
        if token in captioner.row:
            rows[captioner.row[token]] = row
    return {**weights, ROWS: rows}


def committed_autoencoder(options: argparse.Namespace) -> Autoencoder:
    """The one that was trained here, else the committed one."""
    autoencoder = Autoencoder().to(options.device)
    trained = options.folder / "vae.pt"
    autoencoder.load_state_dict(torch.load(trained, weights_only=True) if trained.exists() else committed("vae"))
    return autoencoder


def latent_bank(options: argparse.Namespace, count: int) -> tuple[list[world.Scene], torch.Tensor]:
    """Scenes and their latents [count, 8, 12, 12], made once. Captions and noise are drawn anew for every use."""
    autoencoder = committed_autoencoder(options)
    rng = np.random.default_rng((options.seed, 5))
    scenes: list[world.Scene] = []
    latents = []
    with torch.no_grad(), autocast(options.device):
        for _ in tqdm(range(0, count, 64), desc="latents"):
            drawn, batch = pictures(64, rng)
            scenes += drawn
            latents.append(autoencoder.encode(batch.to(options.device) * 2 - 1).float())
    return scenes, torch.cat(latents)


def _where_things_stand(scene: world.Scene, side: int) -> torch.Tensor:
    """[side, side]: 1 in the squares of a scene's things, else 0."""
    centres = (torch.arange(side) + 0.5) * world.SIZE / side
    inside = torch.zeros(side, side)
    for p in scene.objects:
        rows, columns = ((centres - at).abs() <= p.size / 2 for at in (p.y, p.x))
        inside[rows[:, None] & columns] = 1.0
    return inside


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
        nets.load_state_dict(_with_rows_of(captioner, nets, committed("model")), strict=False)
        mean.module.load_state_dict(nets.state_dict())
    rate = 4e-4 if options.further else 6e-4
    optimiser = torch.optim.AdamW(nets.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    state = {"nets": nets, "mean": mean, "optimiser": optimiser}
    run = TrainingRun("model", options.folder, options.model_steps, state, rate)
    alphas = noise_levels().to(device)
    # Thin objects add little to the error and are learnt last, so scenes with less ink are drawn more often.
    thinness = {thing: 1 / world.ink(thing) for thing in world.THINGS}
    shares = np.array([np.mean([thinness[p.thing] for p in scene.objects]) for scene in scenes])
    shares /= shares.sum()
    places = torch.stack([_where_things_stand(scene, bank.shape[-1]) for scene in scenes]).to(device)
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
        with autocast(device):
            states = nets["text"](rows.to(device))[0]
            noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
            predicted = nets["unet"](noisy, times, context=states).float()
        signal = alpha / (1 - alpha)
        counts = 1 + ON_THINGS * places[torch.from_numpy(chosen).to(device)][:, None]
        error = ((predicted - noise) ** 2 * (signal.clamp(max=5) / signal) * counts).mean() / counts.mean()
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
    """Writes demo/weights from the checkpoints that are there, in half precision."""
    from safetensors.torch import save_file

    trained, checkpoint = {}, options.folder / "model.ckpt"
    if checkpoint.exists():
        captioner = Captioner()
        _, mean = networks(options, captioner)
        mean.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["mean"])
        averaged = {k.removeprefix("module."): v for k, v in mean.state_dict().items() if k.startswith("module.")}
        trained["model"] = {k: v for k, v in averaged.items() if k.startswith(("unet.", "text."))}
        trained["model"]["token_ids"] = torch.tensor(captioner.ids)
    WEIGHTS.parent.mkdir(exist_ok=True)
    for name in ("vae", "detector", "glance"):
        if (options.folder / f"{name}.pt").exists():
            trained[name] = torch.load(options.folder / f"{name}.pt", weights_only=True, map_location="cpu")
    for name, values in trained.items():
        half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in values.items()}
        save_file(half, str(WEIGHTS.parent / f"{name}.safetensors"))
