"""Small stand-ins for the tokenizers that come with an encoder's weights, or that a snapshot of the host lacks.

They cut texts at other places than the real ones. What the host looks for in the tokens, such as the ends of a chat
template, has the real number.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

WORDS = re.findall(
    r"\S+",
    """
a the and of on in to is it with by for an that this its from into small grey cat dog sleeps green table knife flowers
photo person no sign says embedding missing Describe image video detailing color shape size texture quantity text
spatial relationships objects background You are helpful assistant system generate according description Need one
reasons about descriptions give structured responses focusing object attribution actions without speculation
""",
)
SPLIT = (  # of Llama 3, the one pattern that the host's own byte-level tokenizer knows
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_TEMPLATE = {"user": 882, "ĊĊ": 271}  # the host finds the end of Hunyuan Video's template by them


def as_tensor(data: bytes) -> torch.Tensor:
    """Bytes in the form in which a checkpoint carries them."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


@functools.cache
def sentencepiece_model(pad: int, eos: int, unk: int, bos: int = -1) -> torch.Tensor:
    """A sentencepiece model of a few hundred pieces, any other character by its bytes; -1: no such token."""
    import sentencepiece

    model, lines = io.BytesIO(), [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=420,
        hard_vocab_limit=False,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
        pad_id=pad,
        eos_id=eos,
        unk_id=unk,
        bos_id=bos,
    )
    return as_tensor(model.getvalue())


def t5_pieces() -> torch.Tensor:
    return sentencepiece_model(pad=0, eos=1, unk=2)


def gemma_pieces() -> torch.Tensor:
    return sentencepiece_model(pad=0, eos=1, bos=2, unk=3)


def roberta_pieces() -> torch.Tensor:
    return sentencepiece_model(bos=0, pad=1, eos=2, unk=3)


@functools.cache
def byte_characters() -> list[str]:
    """The printable character that byte-level vocabularies write for each byte, in the order of their numbers."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + i) for i in range(len(rest)))]


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Each word is put together from left to right."""
    return list(dict.fromkeys((word[:i], word[i]) for word in words for i in range(1, len(word))))


@functools.cache
def byte_level_json(
    special: tuple[tuple[str, int], ...], numbers: tuple[tuple[str, int], ...] = (), words: tuple[str, ...] = ()
) -> str:
    """A tokenizer.json of bytes and some English words.

    special: special tokens. numbers: words with numbers of their own. words: further ones.
    """
    merges = _merges([*("Ġ" + word for word in WORDS), *dict(numbers), *words])
    free = (i for i in range(10_000) if i not in dict(numbers).values())
    vocabulary = {character: next(free) for character in byte_characters()}
    for left, right in merges:
        vocabulary[left + right] = dict(numbers).get(left + right) or next(free)
    vocabulary |= dict(special)
    added = [
        {"id": i, "content": text, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for text, i in special
    ]
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [" ".join(pair) for pair in merges]}
    model |= dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    model |= dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False)
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
            "post_processor": _begins_with("<|begin_of_text|>", dict(special)),
            "decoder": level,
            "model": model,
        }
    )


def _begins_with(text: str, special: dict[str, int]) -> dict[str, Any] | None:
    if text not in special:
        return None
    begin, sequence = {"SpecialToken": {"id": text, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    tokens = {text: {"id": text, "ids": [special[text]], "tokens": [text]}}
    return {
        "type": "TemplateProcessing",
        "single": [begin, sequence],
        "pair": [begin, sequence],
        "special_tokens": tokens,
    }


def _in_checkpoint(special: dict[str, int], words: tuple[str, ...] = ()) -> torch.Tensor:
    return as_tensor(byte_level_json(tuple(special.items()), words=words).encode())


def gemma4_json() -> torch.Tensor:
    return _in_checkpoint({"<pad>": 0, "<|turn>": 105, "<turn|>": 106} | {"<|channel>": 100, "<channel|>": 101})


def gpt_oss_json() -> torch.Tensor:
    """The host cuts a number of tokens off in front, so that its template has to be as long as with the real one."""
    from comfy.text_encoders.gpt_oss import _lens_render_chat

    front = re.split(r"<\|\w+\|>", _lens_render_chat("PROMPT").partition("PROMPT")[0])
    words = [word for text in front for word in re.findall(r" ?[A-Za-z]+|\d{1,3}|\.\n+|\n\n", text)]
    cut = {" ChatGPT": [" Chat", "GPT"], " OpenAI": [" Open", "AI"], "Reasoning": ["Reason", "ing"]}
    pieces = [piece.replace(" ", "Ġ").replace("\n", "Ċ") for word in words for piece in cut.get(word, [word])]
    pieces.sort(key=lambda piece: piece[0] != "Ġ")  # or a word's beginning would be merged within another word
    names = {"<|endoftext|>": 199999, "<|channel|>": 200005, "<|start|>": 200006, "<|end|>": 200007}
    return _in_checkpoint({**names, "<|message|>": 200008}, tuple(pieces))


def minimax_music_json() -> torch.Tensor:
    from comfy.ldm.minimax_music.prompt import SPECIAL_TOKEN_IDS

    return _in_checkpoint(SPECIAL_TOKEN_IDS)


def tekken_json() -> torch.Tensor:
    """Mistral's form: the bytes and the words in the order of their merges, after a thousand special tokens."""
    special = {"<unk>": 0, "<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4, "<pad>": 11}
    special |= {"[SYSTEM_PROMPT]": 17, "[/SYSTEM_PROMPT]": 18}
    pieces = [bytes([i]) for i in range(256)] + [(a + b).encode() for a, b in _merges([" " + word for word in WORDS])]
    data = {
        "config": {"default_num_special_tokens": 1000, "default_vocab_size": 131072},
        "special_tokens": [{"rank": i, "token_str": text} for text, i in special.items()],
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(piece).decode()} for i, piece in enumerate(pieces)],
    }
    return as_tensor(json.dumps(data).encode())


@functools.cache
def folder_for(path: str) -> str:
    """The host's folder of a tokenizer, or a folder with a stand-in for the file that a snapshot lacks."""
    here = Path(path)
    if here.name == "llama_tokenizer" and not (here / "tokenizer.json").is_file():
        config = json.loads((here / "tokenizer_config.json").read_text(encoding="utf-8"))
        special = tuple((token["content"], int(i)) for i, token in config["added_tokens_decoder"].items())
        return _beside(here, "tokenizer.json", byte_level_json(special, tuple(LLAMA_TEMPLATE.items())))
    if here.name == "qwen35_tokenizer" and not (here / "vocab.json").is_file():
        lines = (here / "merges.txt").read_text(encoding="utf-8").splitlines()
        merged = [line.replace(" ", "") for line in lines if line and not line.startswith("#version")]
        pieces = dict.fromkeys([*byte_characters(), *merged])  # the order of the real file
        return _beside(here, "vocab.json", json.dumps({piece: i for i, piece in enumerate(pieces)}))
    return path


def _beside(folder: Path, name: str, text: str) -> str:
    """A copy of the folder, as long as the process lives, with one more file."""
    copy = Path(_scratch().name) / folder.name
    shutil.copytree(folder, copy)
    (copy / name).write_text(text, encoding="utf-8")
    return str(copy)


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="safelight-tokenizers-")


def empty_folder() -> str:
    """A folder of embeddings without any."""
    folder = Path(_scratch().name) / "embeddings"
    folder.mkdir(exist_ok=True)
    return str(folder)
