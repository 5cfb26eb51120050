"""Makes CLIPs of the host's own text encoder classes at toy size: few and narrow layers, seeded weights, in float32."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import comfy.model_management
import comfy.sd
import comfy.sd1_clip
import stand_in_tokenizers
import torch
from host import accepts

NARROWER = 32  # CLIP's encoders are as many times narrower than the real ones, so that L, G and H still differ
LLM = 64  # width of a language model's states
PARTS_FOR_PICTURES = ("visual", "vision_model", "multi_modal_projector", "audio_model", "audio_projector")
LARGE = 20_000  # rows of a vocabulary, which is filled the cheap way


def toy_clip(
    model: Any,
    tokenizer: Any,
    tokenizer_data: dict[str, Any],
    t5_width: int = LLM,
    model_options: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    seed: int = 3,
) -> Any:
    """A CLIP of these two classes, made as the host's load_text_encoder_state_dicts makes it.

    tokenizer_data: what comes with the weights.
    """

    def filled(**given: Any) -> torch.nn.Module:
        made = model(**given)
        for part in list(made.modules()):
            for name in PARTS_FOR_PICTURES:
                if name in part._modules:
                    delattr(part, name)
        fill(made, seed)
        return made

    target = SimpleNamespace(params=params or {}, clip=filled, tokenizer=tokenizer)
    options = {"tokenizer_data": tokenizer_data, "model_options": model_options or {}}
    known = {name: value for name, value in options.items() if accepts(comfy.sd.CLIP.__init__, name)}
    if "model_options" not in known:  # the package index build
        assert not tokenizer_data and not model_options
    float32 = mock.patch.object(comfy.model_management, "text_encoder_dtype", lambda device=None: torch.float32)
    with toy_size(t5_width), _shared_tokenizers(), float32:
        return comfy.sd.CLIP(target, embedding_directory=stand_in_tokenizers.empty_folder(), **known)


def fill(model: torch.nn.Module, seed: int) -> None:
    """Seeded values for everything that a checkpoint would bring, of a size that keeps the signal's."""
    torch.manual_seed(seed)
    for part in model.modules():
        if hasattr(part, "_orig_shape") and getattr(part, "weight", None) is None:  # made while the weights load
            part.weight = torch.nn.Parameter(torch.empty(part._orig_shape), requires_grad=False)
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, torch.nn.Parameter(_values(name, parameter), requires_grad=False))
        for name, buffer in list(part.named_buffers(recurse=False)):
            if name not in part._non_persistent_buffers_set and buffer.is_floating_point():
                part.register_buffer(name, _values(name, buffer))
    model.eval()


def _values(name: str, like: torch.Tensor) -> torch.Tensor:
    shape = like.shape
    if len(shape) == 2 and shape[0] > LARGE:
        # A window that moves along one line of numbers: a vocabulary needs neither their time nor their memory.
        return torch.randn(8 * shape[0] + shape[1], dtype=like.dtype).as_strided(shape, (8, 1))
    if len(shape) >= 2:
        return torch.randn(shape, dtype=like.dtype) / math.sqrt(like[0].numel())
    return 0.1 * torch.randn(shape, dtype=like.dtype) + (0.0 if name.endswith("bias") else 1.0)


@contextlib.contextmanager
def toy_size(t5_width: int) -> Iterator[None]:
    """In the block the host makes its encoders small."""
    original = comfy.sd1_clip.SDClipModel.__init__
    signature = inspect.signature(original)

    def small(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        config = given["textmodel_json_config"]
        if config is None and "model_options" in given:  # as the host does where it takes its own configuration
            given["model_options"] = {"model_name": "clip_l", **given["model_options"]}
        full = config if isinstance(config, dict) else json.loads(_path(config).read_text(encoding="utf-8"))
        layers = _layers(given["layer"], given["layer_idx"])
        given["textmodel_json_config"] = {**full, **_smaller(given["model_class"], full, layers, t5_width)}
        original(*bound.args, **bound.kwargs)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(comfy.sd1_clip.SDClipModel, "__init__", small))
        patches.enter_context(_untouched_memory())
        with contextlib.suppress(ImportError):
            import comfy.text_encoders.sa3 as sa3

            patches.enter_context(mock.patch.object(sa3, "T5GemmaEncoderConfig", _small_t5_gemma(sa3)))
        yield


@contextlib.contextmanager
def _untouched_memory() -> Iterator[None]:
    """Or torch would write to all of the memory of the networks for pictures, which are of full size and not used."""
    before = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before


def _path(config: str | None) -> Path:
    return Path(config) if config else Path(comfy.sd1_clip.__file__).parent / "sd1_clip_config.json"


def _layers(layer: Any, layer_idx: int | None) -> int:
    """As few as the encoder's choice of layers allows."""
    return max(layer) + 1 if isinstance(layer, list) else max(3, abs(layer_idx or 0) + 1)


def _smaller(kind: type, full: dict[str, Any], layers: int, t5_width: int) -> dict[str, Any]:
    """What of an encoder's configuration is smaller here. kind: the class of the network."""
    modules = {each.__module__.rsplit(".")[-1] for each in kind.__mro__}
    if "t5" in modules:
        layers = 2 if t5_width == LLM else 1
        return {"d_model": t5_width, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": layers}
    if "sa3" in modules:
        return {}
    sizes = {"hidden_size": LLM, "intermediate_size": 96, "num_hidden_layers": layers, "num_attention_heads": 2}
    if modules & {"clip_model", "bert"}:
        width = full["hidden_size"] // NARROWER
        return {**sizes, "hidden_size": width, "projection_dim": width}
    if "jina_clip_2" in modules:
        return sizes
    sizes["num_key_value_heads"] = 1
    if "qwen35" in modules and "qwen3vl" not in modules:
        small = {"head_dim": 32, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
        return {**sizes, "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 2, **small}
    if any(each.__name__ == "Gemma4AudioMixin" for each in kind.__mro__):
        return {**sizes, "hidden_size_per_layer_input": 16, "num_kv_shared_layers": 1}
    return sizes


def _small_t5_gemma(sa3: Any) -> type:
    class Small(sa3.T5GemmaEncoderConfig):
        def __init__(self) -> None:
            super().__init__()
            self.hidden_size, self.intermediate_size, self.num_hidden_layers = LLM, 96, 2
            self.num_attention_heads = self.num_key_value_heads = 2

    return Small


class _Loader:
    """In place of a tokenizer's class: reads a folder once, and a stand-in where the folder lacks a file."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def from_pretrained(self, path: Any, **options: Any) -> Any:
        if isinstance(path, str) and path and not options:
            return _load(self.kind, stand_in_tokenizers.folder_for(path))
        return self.kind.from_pretrained(path, **options)


@functools.cache
def _load(kind: Any, folder: str) -> Any:
    return kind.from_pretrained(folder)


@contextlib.contextmanager
def _shared_tokenizers() -> Iterator[None]:
    original = comfy.sd1_clip.SDTokenizer.__init__
    signature = inspect.signature(original)

    def shared(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        kind = bound.arguments["tokenizer_class"]
        bound.arguments["tokenizer_class"] = _Loader(kind)
        original(*bound.args, **bound.kwargs)
        if hasattr(self, "tokenizer_class"):  # the package index build keeps it
            self.tokenizer_class = kind

    with mock.patch.object(comfy.sd1_clip.SDTokenizer, "__init__", shared):
        yield


@dataclass
class EncoderCalls:
    """What a CLIP was asked: how often, and how many rows (places of tokens) each of its networks went through."""

    calls: int = 0
    rows: dict[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def encoder_calls(clip: Any) -> Iterator[EncoderCalls]:
    """Counts the calls of a CLIP's encoder while open, by whichever of the CLIP's methods they come."""
    model, seen = clip.cond_stage_model, EncoderCalls()
    original = model.encode_token_weights

    def counted(tokens: Any) -> Any:
        seen.calls += 1
        return original(tokens)

    def counting(name: str) -> Any:
        def count(network: Any, args: tuple, kwargs: dict[str, Any]) -> None:
            embeds = kwargs.get("embeds")
            places = args[0].numel() if embeds is None else embeds.shape[:-1].numel()
            seen.rows[name] = seen.rows.get(name, 0) + places

        return count

    hooks = [
        network.register_forward_pre_hook(counting(name), with_kwargs=True)
        for name, network in _networks(model).items()
    ]
    model.encode_token_weights = counted
    try:
        yield seen
    finally:
        del model.encode_token_weights
        for hook in hooks:
            hook.remove()


def _networks(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The networks of a CLIP's encoders by the encoders' names."""
    parts = {name: part._modules for name, part in model.named_modules()}
    return {name: modules["transformer"] for name, modules in parts.items() if "transformer" in modules}
