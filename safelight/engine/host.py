"""What differs between the ComfyUI versions that the pack runs in, in one place.

`comfy.sample`, `comfy.samplers`, `comfy.sampler_helpers` and `comfy.model_management` have one place in all of them.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.utils
import torch

if TYPE_CHECKING:
    from comfy.model_base import BaseModel
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import KSAMPLER
    from comfy.sd import VAE

try:  # a ComfyUI checkout has them at the top level, the package index build inside its package
    import folder_paths
    import latent_preview
except ImportError:
    from comfy.cmd import folder_paths, latent_preview  # noqa: F401

try:
    from comfy.nodes.base_nodes import CLIPTextEncode, PreviewImage  # noqa: F401
except ImportError:  # by name, because a type checker takes `nodes` for this pack's folder
    _core_nodes = importlib.import_module("nodes")
    CLIPTextEncode, PreviewImage = _core_nodes.CLIPTextEncode, _core_nodes.PreviewImage

try:
    import comfy.patcher_extension as patcher_extension
except ImportError:  # before the end of 2024 there were no wrappers
    patcher_extension = None

try:
    import comfy.weight_adapter as weight_adapter
except ImportError:  # before 2025 a patch of low rank was a tuple
    weight_adapter = None

try:
    from comfy_execution.utils import get_executing_context
except ImportError:  # before mid-2025 the host told nobody which node runs
    get_executing_context = None

if not hasattr(comfy.sample, "comfy"):
    # The package index build forgot to import the name by which it widens empty latents of other than 4 channels.
    comfy.sample.comfy = comfy

HAS_WRAPPERS = patcher_extension is not None and hasattr(patcher_extension, "WrappersMP")

# Keys that newer hosts' empty latents carry and that their samplers take out again.
_DOWNSCALE_KEYS = ("downscale_ratio_spacial", "downscale_ratio_temporal")


def step_call_sigmas(sampler: KSAMPLER, sigmas: Sequence[float]) -> list[float]:
    """The sigmas of the run `sigmas` at which a step begins, one model call each, in order.

    dpm_adaptive and dpm_fast choose their own steps down to the last sigma above 0, and stop there. Those of dpm_fast
    are known: even in log sigma, with up to three calls each (DPM-Solver-fast, arXiv 2206.00927, section 3.4).
    """
    name, calls = getattr(getattr(sampler, "sampler_function", None), "__name__", ""), len(sigmas) - 1
    if name.startswith("dpm_fast") and calls > 0:
        blocks = calls // 3 + 1
        orders = [3] * (blocks - 2) + [2, 1] if calls % 3 == 0 else [3] * (blocks - 1) + [calls % 3]
        start, end = math.log(sigmas[0]), math.log(sigmas[-1] or sigmas[-2])
        places = [(i + j / order) / blocks for i, order in enumerate(orders) for j in range(order)]
        # A little above, so that no rounding puts the sampler's own level before it.
        return [math.exp(start + (end - start) * place + 1e-5) for place in places]
    return list(sigmas[:-2] if name.startswith("dpm_adapt") and calls > 1 else sigmas[:-1])


def fix_empty_latent(model: ModelPatcher, latent: dict[str, Any]) -> torch.Tensor:
    """`latent["samples"]` with the channels, and on newer hosts the size, that the model expects of an empty latent."""
    fix = comfy.sample.fix_empty_latent_channels
    accepted = inspect.signature(fix).parameters
    return fix(model, latent["samples"], **{key: latent.get(key) for key in _DOWNSCALE_KEYS if key in accepted})


def spatial_ratio(vae: VAE) -> int:
    """How many pixels a side of a latent cell has."""
    if hasattr(vae, "spacial_compression_encode"):  # newer hosts have other ratios for time, and a method for each
        return vae.spacial_compression_encode()
    return vae.downscale_ratio


def make_noise(samples: torch.Tensor, seed: int, batch_index: Sequence[int] | None, disable: bool) -> torch.Tensor:
    """The noise that the stock samplers start from; zeros if `disable`."""
    if not disable:
        return comfy.sample.prepare_noise(samples, seed, batch_index)
    if hasattr(comfy.sample, "prepare_empty_noise"):
        return comfy.sample.prepare_empty_noise(samples)
    return torch.zeros(samples.size(), dtype=samples.dtype, layout=samples.layout, device="cpu")


def output_latent(latent: dict[str, Any], samples: torch.Tensor) -> dict[str, Any]:
    """`latent` with `samples` in it, and its other keys except those that the stock samplers take out."""
    out = {key: value for key, value in latent.items() if key not in _DOWNSCALE_KEYS}
    out["samples"] = samples
    return out


def to_intermediate(samples: torch.Tensor) -> torch.Tensor:
    """Samples on the device, and in the dtype, that the host keeps latents in between nodes."""
    management = comfy.model_management
    if hasattr(management, "intermediate_dtype"):
        return samples.to(device=management.intermediate_device(), dtype=management.intermediate_dtype())
    return samples.to(management.intermediate_device())


def preview_callback(model: ModelPatcher, steps: int) -> Callable[..., None]:
    """The host's step callback (step, denoised, x, total steps): progress bar, previews, interruption."""
    return latent_preview.prepare_callback(model, steps)


def progress_bar_disabled() -> bool:
    """Whether the host wants no progress bar on the console."""
    try:
        from comfy.execution_context import current_execution_context
    except ImportError:
        return not comfy.utils.PROGRESS_BAR_ENABLED
    return not current_execution_context().server.receive_all_progress_notifications


def is_out_of_memory(error: Exception) -> bool:
    management = comfy.model_management
    if hasattr(management, "is_oom"):
        return management.is_oom(error)
    # Where torch has no such exception, the host puts Exception itself in its place.
    return isinstance(error, management.OOM_EXCEPTION) and management.OOM_EXCEPTION is not Exception


def free_cache() -> None:
    """Gives back memory that torch keeps and nothing uses."""
    comfy.model_management.soft_empty_cache()


def prompt_server() -> Any:
    """The host's PromptServer that loads this pack; None where the nodes are used without one.

    Any, because its class has another place in every host.
    """
    for name in ("server", "comfy.cmd.server"):
        instance = getattr(getattr(sys.modules.get(name), "PromptServer", None), "instance", None)
        if instance is not None:
            return instance
    return None


def send_to_page(event: str, data: dict[str, Any]) -> None:
    """Sends the page that queued what runs just now a message about the node that runs: `data`, and the node's id as
    the page's own messages name it (`last_node_id`: in a loop or an expanded node the one that the artist sees).

    Does nothing without a server, or for a prompt that no page queued.
    """
    server = prompt_server()
    if server is not None and server.client_id is not None and server.last_node_id is not None:
        server.send_sync(event, {"node": server.last_node_id, **data}, server.client_id)


def executing() -> tuple[str | None, str | None]:
    """The ids of the prompt and of the node that runs just now; None where the host, or a script, does not tell."""
    if get_executing_context is None or (now := get_executing_context()) is None:
        return None, None
    return now.prompt_id, now.node_id


def renew_step_cache(model: BaseModel, model_options: dict[str, Any]) -> None:
    """Empties the host's EasyCache, as at the start of a run.

    The cache keeps the prediction of each conditioning, and until late 2025 failed in a skipped step with a new one.
    """
    options = model_options.get("transformer_options", {})
    cache = options.get("easycache")
    if hasattr(cache, "uuid_cache_diffs") and not hasattr(cache, "can_apply_cache_diff"):
        options["easycache"] = cache.clone().prepare_timesteps(model.model_sampling)


def patched_weights(model: ModelPatcher, keys: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """The keys with their weights, patches on the model (LoRA and the like) included, in float32 on the CPU.

    Raises ValueError, naming the model, for a weight that is not a matrix of finite numbers.
    """
    calculate = getattr(comfy.lora, "calculate_weight", None) or model.calculate_weight  # the old host has the method
    for key, weight, convert, patches in _weights_and_patches(model, keys):
        readable = weight.is_floating_point() and weight.ndim == 2
        if readable:
            weight = comfy.model_management.cast_to_device(weight, torch.device("cpu"), torch.float32, copy=True)
            weight = weight if convert is None else convert(weight, inplace=True)
            weight = calculate(patches, weight, key)
        if not readable or not bool(torch.isfinite(weight).all()):
            raise ValueError(
                f"model: expected a weight {key} of finite numbers, got one that is packed or not finite. Load the "
                "checkpoint in another precision."
            )
        yield key, weight


def _weights_and_patches(
    model: ModelPatcher, keys: list[str]
) -> Iterator[tuple[str, torch.Tensor, Callable[..., torch.Tensor] | None, list[Any]]]:
    """(key, weight without patches, what makes numbers of a packed weight, patches on the model)."""
    get_key_weight = getattr(comfy.model_patcher, "get_key_weight", None)
    if get_key_weight is None:
        entries = model.get_key_patches("diffusion_model.")
        yield from ((key, entries[key][0], None, list(entries[key][1:])) for key in keys)
        return
    # Newer hosts' get_key_patches reads all keys, and fails at the scales of a checkpoint's quantised layers.
    for key in keys:
        weight, _, convert = get_key_weight(model.model, key)
        if key in model.backup:
            weight = model.backup[key].weight
        if key in model.hook_backup:
            weight = model.hook_backup[key][0]
        yield key, weight, convert, model.patches.get(key, [])


class _Weights:
    """Weights of a patch, in the form in which the host asks a patch of a model for them."""

    def __init__(self, patcher: ModelPatcher) -> None:
        self.patcher = patcher

    def models(self) -> list[ModelPatcher]:
        """What the host loads with the model, where it asks for that: it counts them and makes room for them."""
        return [self.patcher]

    def to(self, target: torch.device | torch.dtype) -> _Weights:
        """Called when the host loads or unloads the model. A host that doesn't ask for models moves them here alone."""
        if isinstance(target, torch.device) and not hasattr(self.patcher, "model_patches_models"):
            self.patcher.model.to(target)
        return self


def add_weights(model: ModelPatcher, weights: torch.nn.Module) -> None:
    """The host moves the weights, parameters of a module, to the model's device and away with the model."""
    patcher = comfy.model_patcher.ModelPatcher(weights, model.load_device, model.offload_device)
    # No part of a model asks for patches of this name.
    model.set_model_patch(_Weights(patcher), "safelight_weights")


def low_rank_patch(up: torch.Tensor, down: torch.Tensor) -> Any:
    """The patch that adds up @ down to a weight: [O, r] and [r, D]. Any, because its form differs between hosts."""
    if weight_adapter is None:
        return ("lora", (up, down, None, None, None, None))
    return weight_adapter.LoRAAdapter(set(), (up, down, None, None, None, None))


@contextmanager
def in_training() -> Iterator[None]:
    """Newer hosts leave out what has no gradient while they train."""
    management = comfy.model_management
    before = getattr(management, "in_training", None)
    if before is not None:
        management.in_training = True
    try:
        yield
    finally:
        if before is not None:
            management.in_training = before
