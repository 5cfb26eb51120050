"""The families of text encoders that the host has, each by the classes that comfy/sd.py takes for it."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.sd
import stand_in_tokenizers as stand_ins
import toy_encoders

HELPERS = {  # modules of comfy/text_encoders that make no encoder of their own
    "ace_text_cleaners",
    "bert",
    "bpe_tokenizer",
    "llama",
    "long_clipl",
    "qwen_vl",
    "spiece_tokenizer",
    "t5",
}
# What classes of FAMILIES are made from, where the host also takes it as it is.
BASES = {"pixart_t5.PixArtT5XXL", "pixeldit.PixelDiTGemma2TE", "sd3_clip.SD3ClipModel"}
# For a checkpoint of CogVideoX with its encoder in it; but no CLIP can be made of them (the class has no `dtypes`).
NO_CLIP = {"cogvideo.CogVideoXT5Tokenizer", "sd3_clip.T5XXLModel"}


class NotInHost(LookupError):
    """The host has no text encoder of that name."""


class _Module:
    def __init__(self, name: str, named: set[str]) -> None:
        self._name, self._named = name, named

    def __getattr__(self, name: str) -> Any:
        self._named.add(f"{self._name}.{name}")
        found = getattr(_module(self._name), name, None)
        if found is None:
            raise NotInHost(f"{self._name}.{name}")
        return found


class Host:
    """Stands for comfy.text_encoders, and for the modules beside it, in FAMILIES. named: what was looked up."""

    def __init__(self) -> None:
        self.named: set[str] = set()

    def __getattr__(self, name: str) -> _Module:
        return _Module(name, self.named)


def _module(name: str) -> ModuleType:
    for path in (f"comfy.text_encoders.{name}", f"comfy.{name}"):
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name not in (path, "comfy.text_encoders"):
                raise
    raise NotInHost(name)


@dataclass(frozen=True)
class Family:
    """target: the class of the encoder and that of its tokenizer.

    files: what the host takes out of the weights' file for the tokenizer. side: the further texts that the encoder
    gives, and what is told about them. told: what the tokenizer is told besides the text, since music would be long.
    size: arguments of toy_clip.
    """

    target: Callable[[Any], tuple[Any, Any]]
    files: Callable[[], dict[str, Any]] = dict
    side: tuple[str, ...] = ()
    told: dict[str, Any] = field(default_factory=dict)
    size: dict[str, Any] = field(default_factory=dict)

    def clip(self) -> Any:
        """A new CLIP of this family. Raises NotInHost."""
        model, tokenizer = self.target(Host())
        clip = toy_encoders.toy_clip(model, tokenizer, self.files(), **self.size)
        if self.told:
            tokenize = clip.tokenizer.tokenize_with_weights
            clip.tokenizer.tokenize_with_weights = functools.partial(tokenize, **self.told)
        return clip


def _t5_pieces() -> dict[str, Any]:
    return {"spiece_model": stand_ins.t5_pieces()}


def _gemma_pieces() -> dict[str, Any]:
    return {"spiece_model": stand_ins.gemma_pieces()}


def _tekken() -> dict[str, Any]:
    return {"tekken_model": stand_ins.tekken_json()}


def _gemma4() -> dict[str, Any]:
    return {"tokenizer_json": stand_ins.gemma4_json()}


def _newbie() -> dict[str, Any]:
    return {"gemma_spiece_model": stand_ins.gemma_pieces(), "jina_spiece_model": stand_ins.roberta_pieces()}


LLAMA3 = ("conditioning_llama3",)
NO_CLIPS = {"clip_l": False, "clip_g": False}
WIDE = {"t5_width": 4096}  # what SD3's class pads CLIP's states to
LENS = {"hidden_size": 64, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
LENS |= {"num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 4}
MUSIC = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
MUSIC |= {"num_key_value_heads": 1, "audio_vocab_size": 64, "decoder_num_heads": 2, "decoder_num_layers": 1}
MUSIC |= {"decoder_intermediate_size": 48}

FAMILIES = {
    "SD1.5": Family(lambda te: (te.sd1_clip.SD1ClipModel, te.sd1_clip.SD1Tokenizer)),
    "SD1.5 with LongCLIP": Family(
        lambda te: (te.long_clipl.model_options_long_clip and te.sd1_clip.SD1ClipModel, te.sd1_clip.SD1Tokenizer),
        lambda: {"clip_l_max_length": 248},
        size={"model_options": {"clip_l_model_config": {"max_position_embeddings": 248}}},
    ),
    "SD2": Family(lambda te: (te.sd2_clip.SD2ClipModel, te.sd2_clip.SD2Tokenizer)),
    "SDXL": Family(lambda te: (te.sdxl_clip.SDXLClipModel, te.sdxl_clip.SDXLTokenizer)),
    "SDXL refiner": Family(lambda te: (te.sdxl_clip.SDXLRefinerClipModel, te.sdxl_clip.SDXLTokenizer)),
    "Stable Cascade": Family(lambda te: (te.sdxl_clip.StableCascadeClipModel, te.sdxl_clip.StableCascadeTokenizer)),
    "SD3.5": Family(lambda te: (te.sd3_clip.sd3_clip(), te.sd3_clip.SD3Tokenizer), size=WIDE),
    "SD3.5 without T5": Family(lambda te: (te.sd3_clip.sd3_clip(t5=False), te.sd3_clip.SD3Tokenizer)),
    "SD3.5 with T5 alone": Family(lambda te: (te.sd3_clip.sd3_clip(**NO_CLIPS), te.sd3_clip.SD3Tokenizer)),
    "Stable Audio": Family(lambda te: (te.sa_t5.SAT5Model, te.sa_t5.SAT5Tokenizer)),
    "Stable Audio 3": Family(lambda te: (te.sa3.SAT5GemmaModel, te.sa3.SAT5GemmaTokenizer), _gemma_pieces),
    "AuraFlow": Family(lambda te: (te.aura_t5.AuraT5Model, te.aura_t5.AuraT5Tokenizer)),
    "PixArt, Chroma": Family(lambda te: (te.pixart_t5.pixart_te(), te.pixart_t5.PixArtTokenizer)),
    "Hunyuan DiT": Family(
        lambda te: (te.hydit.HyditModel, te.hydit.HyditTokenizer),
        lambda: {"mt5xl.spiece_model": stand_ins.t5_pieces()},
        side=("conditioning_mt5xl",),
    ),
    "Flux.1": Family(lambda te: (te.flux.flux_clip(), te.flux.FluxTokenizer)),
    "Flux.2 dev": Family(lambda te: (te.flux.flux2_te(), te.flux.Flux2Tokenizer), _tekken),
    "Flux.2 dev, pruned": Family(lambda te: (te.flux.flux2_te(pruned=True), te.flux.Flux2Tokenizer), _tekken),
    "Flux.2 klein 4B": Family(lambda te: (te.flux.klein_te(), te.flux.KleinTokenizer)),
    "Flux.2 klein 8B": Family(lambda te: (te.flux.klein_te(model_type="qwen3_8b"), te.flux.KleinTokenizer8B)),
    "Lens": Family(
        lambda te: (te.gpt_oss.lens_te(), te.gpt_oss.LensTokenizer),
        lambda: {"tokenizer_json": stand_ins.gpt_oss_json()},
        side=("num_layers_stacked",),
        size={"model_options": {"gpt_oss_config": LENS, "selected_layers": (0, 1, 2, 3)}},
    ),
    "Mochi": Family(lambda te: (te.genmo.mochi_te(), te.genmo.MochiT5Tokenizer)),
    "CogVideoX": Family(lambda te: (te.cogvideo.cogvideo_te(), te.cogvideo.CogVideoXTokenizer)),
    "LTXV": Family(lambda te: (te.lt.ltxv_te(), te.lt.LTXVT5Tokenizer)),
    "LTX-2": Family(
        lambda te: (te.lt.ltxav_te(video_projection_dim=48), te.lt.LTXAVGemmaTokenizer),
        _gemma_pieces,
        ("unprocessed_ltxav_embeds",),
    ),
    "LTX-2 with two projections": Family(
        lambda te: (
            te.lt.ltxav_te(text_projection_type="dual_linear", video_projection_dim=48, audio_projection_dim=32),
            te.lt.LTXAVGemmaTokenizer,
        ),
        _gemma_pieces,
        ("unprocessed_ltxav_embeds",),
    ),
    "LTX-2 with Gemma 4": Family(
        lambda te: (
            te.lt.ltxav_te(
                video_projection_dim=48,
                text_encoder_model=te.gemma4.gemma4_text_encoder_model(te.gemma4.Gemma4_12B),
                text_encoder_key="gemma4",
            ),
            te.lt.ltxav_gemma4_tokenizer(te.gemma4.Gemma4_12B.tokenizer),
        ),
        _gemma4,
        ("unprocessed_ltxav_embeds",),
    ),
    "Gemma 3 12B": Family(lambda te: (te.lt.gemma3_te(), te.lt.Gemma3_12BTokenizer), _gemma_pieces),
    "Gemma 4 E2B": Family(
        lambda te: (te.gemma4.gemma4_te(model_class=te.gemma4.Gemma4_E2B), te.gemma4.Gemma4_E2B.tokenizer), _gemma4
    ),
    "Gemma 4 E4B": Family(
        lambda te: (te.gemma4.gemma4_te(model_class=te.gemma4.Gemma4_E4B), te.gemma4.Gemma4_E4B.tokenizer), _gemma4
    ),
    "Gemma 4 12B": Family(
        lambda te: (te.gemma4.gemma4_te(model_class=te.gemma4.Gemma4_12B), te.gemma4.Gemma4_12B.tokenizer), _gemma4
    ),
    "Gemma 4 31B": Family(
        lambda te: (te.gemma4.gemma4_te(model_class=te.gemma4.Gemma4_31B), te.gemma4.Gemma4_31B.tokenizer), _gemma4
    ),
    "Hunyuan Video": Family(lambda te: (te.hunyuan_video.hunyuan_video_clip(), te.hunyuan_video.HunyuanVideoTokenizer)),
    "Hunyuan Video 1.5": Family(
        lambda te: (te.hunyuan_image.te(), te.hunyuan_video.HunyuanVideo15Tokenizer), side=("conditioning_byt5small",)
    ),
    "Hunyuan Image": Family(
        lambda te: (te.hunyuan_image.te(), te.hunyuan_image.HunyuanImageTokenizer), side=("conditioning_byt5small",)
    ),
    "Hunyuan Image without byt5": Family(
        lambda te: (te.hunyuan_image.te(byt5=False), te.hunyuan_image.HunyuanImageTokenizer)
    ),
    "Cosmos": Family(lambda te: (te.cosmos.te(), te.cosmos.CosmosT5Tokenizer)),
    "Anima": Family(lambda te: (te.anima.te(), te.anima.AnimaTokenizer), side=("t5xxl_ids", "t5xxl_weights")),
    "Lumina 2": Family(lambda te: (te.lumina2.te(), te.lumina2.LuminaTokenizer), _gemma_pieces),
    "Gemma 3 4B": Family(lambda te: (te.lumina2.te(model_type="gemma3_4b"), te.lumina2.NTokenizer), _gemma_pieces),
    "Z-Image": Family(lambda te: (te.z_image.te(), te.z_image.ZImageTokenizer)),
    "PixelDiT": Family(lambda te: (te.pixeldit.pixeldit_te(), te.pixeldit.PixelDiTGemma2Tokenizer), _gemma_pieces),
    "Wan": Family(lambda te: (te.wan.te(), te.wan.WanT5Tokenizer), _t5_pieces),
    "HiDream I1": Family(lambda te: (te.hidream.hidream_clip(), te.hidream.HiDreamTokenizer), side=LLAMA3),
    "HiDream I1 with Llama alone": Family(
        lambda te: (te.hidream.hidream_clip(**NO_CLIPS, t5=False), te.hidream.HiDreamTokenizer), side=LLAMA3
    ),
    "HiDream O1": Family(
        lambda te: (te.hidream_o1.HiDreamO1TE, te.hidream_o1.HiDreamO1Tokenizer), side=("text_input_ids",)
    ),
    "ACE-Step": Family(lambda te: (te.ace.AceT5Model, te.ace.AceT5Tokenizer), _t5_pieces, ("conditioning_lyrics",)),
    "ACE-Step 1.5": Family(
        lambda te: (te.ace15.te(), te.ace15.ACE15Tokenizer),
        side=("audio_codes", "conditioning_lyrics"),
        told={"duration": 1},
    ),
    "MiniMax Music 3": Family(
        lambda te: (te.minimax_music.MiniMaxMusic3TEModel, te.minimax_music.MiniMaxMusic3Tokenizer),
        lambda: {"tokenizer_json": stand_ins.minimax_music_json()},
        told={"max_audio_frames": 3},
        size={"params": {"projection_config": MUSIC}},
    ),
    "MiniMax H3": Family(lambda te: (te.minimax.te(), te.minimax.MiniMaxH3Tokenizer), side=("minimax_token_tags",)),
    "OmniGen2": Family(lambda te: (te.omnigen2.te(), te.omnigen2.Omnigen2Tokenizer)),
    "Boogu": Family(lambda te: (te.boogu.te(), te.boogu.BooguTokenizer)),
    "Ideogram 4": Family(lambda te: (te.ideogram4.te(), te.ideogram4.Ideogram4Tokenizer)),
    "Ideogram 4 that sees": Family(lambda te: (te.ideogram4.te_qwen3vl(), te.ideogram4.Ideogram4Qwen3VLTokenizer)),
    "Krea 2": Family(lambda te: (te.krea2.te(), te.krea2.Krea2Tokenizer)),
    "Mage-Flow": Family(lambda te: (te.mage_flow.te(), te.mage_flow.MageFlowTokenizer)),
    "JoyImage": Family(lambda te: (te.joyimage.te(), te.joyimage.JoyImageTokenizer)),
    "Qwen-Image": Family(lambda te: (te.qwen_image.te(), te.qwen_image.QwenImageTokenizer)),
    "Qwen3-VL": Family(lambda te: (te.qwen3vl.te(), te.qwen3vl.tokenizer())),
    "Qwen 3.5": Family(lambda te: (te.qwen35.te(), te.qwen35.tokenizer())),
    "Kandinsky 5": Family(lambda te: (te.kandinsky5.te(), te.kandinsky5.Kandinsky5Tokenizer)),
    "Kandinsky 5 Image": Family(lambda te: (te.kandinsky5.te(), te.kandinsky5.Kandinsky5TokenizerImage)),
    "LongCat-Image": Family(lambda te: (te.longcat_image.te(), te.longcat_image.LongCatImageTokenizer)),
    "Ernie-Image": Family(lambda te: (te.ernie.te(), te.ernie.ErnieTokenizer), _tekken),
    "Ovis-Image": Family(lambda te: (te.ovis.te(), te.ovis.OvisTokenizer)),
    "NewBie": Family(lambda te: (te.newbie.te(), te.newbie.NewBieTokenizer), _newbie),
    "Jina CLIP 2": Family(
        lambda te: (te.jina_clip_2.JinaClip2TextModelWrapper, te.jina_clip_2.JinaClip2TokenizerWrapper),
        lambda: {"spiece_model": stand_ins.roberta_pieces()},
    ),
    "SAM 3": Family(lambda te: (te.sam3_clip.SAM3ClipModelWrapper, te.sam3_clip.SAM3TokenizerWrapper)),
}


@functools.cache
def target_of(name: str) -> frozenset[str]:
    """The host's names for the parts of a family, as module.name. Raises NotInHost."""
    names = Host()
    FAMILIES[name].target(names)
    return frozenset(names.named)


def modules_of_the_host() -> set[str]:
    """The modules of comfy/text_encoders; none on the package index build, which has them elsewhere."""
    folder = Path(comfy.sd.__file__).parent / "text_encoders"
    return {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def targets_of_the_host() -> set[str]:
    """What comfy/sd.py and comfy/supported_models.py make CLIPs of, as module.name."""
    found = set()
    for name in ("sd", "supported_models"):
        tree = ast.parse((Path(comfy.sd.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
        found |= {name for expression in _targets(tree) for name in _names(expression)}
    return found


def _targets(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "ClipTarget":
            yield from node.args
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
            "clip_target.clip",
            "clip_target.tokenizer",
        ):
            yield node.value


def _names(expression: ast.AST) -> Iterator[str]:
    """module.name for each part of an expression such as comfy.text_encoders.module.name(...)."""
    for node in ast.walk(expression):
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        module, _, name = text.removeprefix("comfy.").removeprefix("text_encoders.").partition(".")
        if name.isidentifier() and not name.endswith("_detect") and _is_module(module):
            yield f"{module}.{name}"


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return bool(_module(name))
    except NotInHost:
        return False


def lacking(name: str) -> str:
    """The first part of a family that the host lacks; "" where it has the family."""
    try:
        target_of(name)
    except NotInHost as error:
        return str(error)
    return ""


HERE = [name for name in FAMILIES if not lacking(name)]
