"""Tiny random text encoders of the host's own classes, in the forms that CLIPs come in.

They have no idea of English: what they are for is shapes, calls and bits.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import torch
from host import accepts
from tiny_models import CONTEXT, POOLED, fill

try:
    import comfy.text_encoders.sd3_clip as sd3_clip
    import comfy.text_encoders.t5 as t5
except ImportError:  # the package index build
    import comfy.sd3_clip as sd3_clip
    import comfy.t5 as t5

L, G, T5 = 24, 40, 64  # widths


def clip_config(width: int) -> dict[str, Any]:
    return {
        "num_hidden_layers": 3,
        "hidden_size": width,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "hidden_act": "quick_gelu",
        "max_position_embeddings": 77,
        "vocab_size": 49408,
        "eos_token_id": 49407,
        "projection_dim": width,
        "layer_norm_eps": 1e-5,
        "model_type": "clip_text_model",
    }


T5_CONFIG = {
    "d_ff": 96,
    "d_kv": 16,
    "d_model": T5,
    "dense_act_fn": "gelu_pytorch_tanh",
    "eos_token_id": 1,
    "is_gated_act": True,
    "layer_norm_epsilon": 1e-6,
    "model_type": "t5",
    "num_heads": 4,
    "num_layers": 2,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 32,
    "vocab_size": 32128,
}


def clip_l(**settings: Any) -> torch.nn.Module:
    return comfy.sd1_clip.SDClipModel(
        device="cpu", dtype=torch.float32, textmodel_json_config=clip_config(L), **settings
    )


def clip_g() -> torch.nn.Module:
    return comfy.sd1_clip.SDClipModel(
        device="cpu",
        dtype=torch.float32,
        textmodel_json_config=clip_config(G),
        layer="hidden",
        layer_idx=-2,
        special_tokens={"start": 49406, "end": 49407, "pad": 0},
        layer_norm_hidden_state=False,
    )


def t5_encoder(**settings: Any) -> torch.nn.Module:
    return comfy.sd1_clip.SDClipModel(
        device="cpu",
        dtype=torch.float32,
        textmodel_json_config=T5_CONFIG,
        model_class=t5.T5,
        special_tokens={"end": 1, "pad": 0},
        **settings,
    )


class Several(torch.nn.Module):
    """What the host's models of several encoders have in common."""

    def __init__(self, **encoders: torch.nn.Module) -> None:
        super().__init__()
        for name, encoder in encoders.items():
            setattr(self, name, encoder)
        self.dtypes = {torch.float32}

    def set_clip_options(self, options: dict) -> None:
        for encoder in self.children():
            encoder.set_clip_options(options)

    def reset_clip_options(self) -> None:
        for encoder in self.children():
            encoder.reset_clip_options()


class SD1(comfy.sd1_clip.SD1ClipModel):
    def __init__(self, **_: Any) -> None:
        torch.nn.Module.__init__(self)
        self.clip_name, self.clip = "l", "clip_l"
        self.clip_l = clip_l()
        self.dtypes = {torch.float32}


class SDXL(Several):
    encode_token_weights = comfy.sdxl_clip.SDXLClipModel.encode_token_weights

    def __init__(self, **_: Any) -> None:
        super().__init__(clip_l=clip_l(layer="hidden", layer_idx=-2, layer_norm_hidden_state=False), clip_g=clip_g())


class SD3(Several):
    """L and G side by side, padded to T5's width; T5's tokens after theirs. (The host's class is 4096 wide.)"""

    def __init__(self, **_: Any) -> None:
        super().__init__(
            clip_l=clip_l(layer="hidden", layer_idx=-2, layer_norm_hidden_state=False),
            clip_g=clip_g(),
            t5xxl=t5_encoder(),
        )

    def encode_token_weights(self, tokens: dict) -> tuple:
        l_out, l_pooled = self.clip_l.encode_token_weights(tokens["l"])[:2]
        g_out, g_pooled = self.clip_g.encode_token_weights(tokens["g"])[:2]
        wide = torch.cat([l_out, g_out], dim=-1)
        wide = torch.nn.functional.pad(wide, (0, T5 + 16 - wide.shape[-1]))
        t5_out = torch.nn.functional.pad(self.t5xxl.encode_token_weights(tokens["t5xxl"])[0], (0, 16))
        return torch.cat([wide, t5_out], dim=-2), torch.cat([l_pooled, g_pooled], dim=-1)


class Flux(Several):
    """T5's states with L's pooled output."""

    def __init__(self, **_: Any) -> None:
        super().__init__(clip_l=clip_l(return_projected_pooled=False), t5xxl=t5_encoder())

    def encode_token_weights(self, tokens: dict) -> tuple:
        pooled = self.clip_l.encode_token_weights(tokens["l"])[1]
        return self.t5xxl.encode_token_weights(tokens["t5xxl"])[0], pooled


class Masked(Several):
    """One T5 that returns an attention mask, where the host knows how."""

    def __init__(self, **_: Any) -> None:
        settings = {"enable_attention_masks": True, "zero_out_masked": True}
        if accepts(comfy.sd1_clip.SDClipModel.__init__, "return_attention_masks"):
            settings["return_attention_masks"] = True
        super().__init__(t5xxl=t5_encoder(**settings))

    def encode_token_weights(self, tokens: dict) -> tuple:
        return self.t5xxl.encode_token_weights(tokens["t5xxl"])


class Cut(SD1):
    """Leaves the first token's state out, as encoders with a template do with theirs."""

    def encode_token_weights(self, tokens: dict) -> tuple:
        states, pooled = super().encode_token_weights(tokens)[:2]
        return states[:, 1:], pooled


class Nameless(SD1):
    """An encoder whose output has nothing to do with its tokens' number: no layout fits it."""

    def encode_token_weights(self, tokens: dict) -> tuple:
        states, pooled = super().encode_token_weights(tokens)[:2]
        return torch.cat([states, states[:, :5]], dim=1), pooled


class Fitting(SD1):
    """Of the widths that the models of tiny_models take."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.clip_l = comfy.sd1_clip.SDClipModel(
            device="cpu", dtype=torch.float32, textmodel_json_config=clip_config(CONTEXT)
        )

    def encode_token_weights(self, tokens: dict) -> tuple:
        states, pooled = super().encode_token_weights(tokens)[:2]
        return states, pooled[:, :POOLED]


class FluxTokenizer(sd3_clip.SD3Tokenizer):
    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_: Any) -> dict:
        tokens = super().tokenize_with_weights(text, return_word_ids)
        return {name: tokens[name] for name in ("l", "t5xxl")}


class T5Tokenizer(sd3_clip.SD3Tokenizer):
    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_: Any) -> dict:
        return {"t5xxl": super().tokenize_with_weights(text, return_word_ids)["t5xxl"]}


FORMS = {
    "SD1": (SD1, comfy.sd1_clip.SD1Tokenizer),
    "SDXL": (SDXL, comfy.sdxl_clip.SDXLTokenizer),
    "SD3": (SD3, sd3_clip.SD3Tokenizer),
    "Flux": (Flux, FluxTokenizer),
    "masked T5": (Masked, T5Tokenizer),
    "cut": (Cut, comfy.sd1_clip.SD1Tokenizer),
    "nameless": (Nameless, comfy.sd1_clip.SD1Tokenizer),
}
UNKNOWN_ROWS = ("cut", "nameless")  # of which it is not known that a row is a word
KNOWN_ROWS = [form for form in FORMS if form not in UNKNOWN_ROWS]


def clip(form: str, seed: int = 3) -> Any:
    """A host CLIP of one of FORMS on the CPU."""
    return clip_of(*FORMS[form], seed)


def fitting_clip(seed: int = 3) -> Any:
    """A host CLIP whose texts the tiny models of tiny_models take: states [1, 77 n, 32], a pooled output [1, 16]."""
    return clip_of(Fitting, comfy.sd1_clip.SD1Tokenizer, seed)


def clip_of(model: type, tokenizer: type, seed: int = 3) -> Any:
    """A host CLIP of these two classes on the CPU."""
    made = comfy.sd.CLIP(SimpleNamespace(params={}, clip=model, tokenizer=tokenizer))
    fill(made.cond_stage_model, seed)
    return made
