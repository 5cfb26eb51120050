"""Prompt lists in the forms in which they are published: I2P's CSV and its kin, or a text file of one prompt a line."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.messages import Failure

FIELDS = ("prompt", "categories", "seed", "guidance", "width", "height", "nudity")
# Which column of a published list holds which field, the first that is there; `needs` is what a list is known by.
# The names with sd_ are those of AIML-TUDA/i2p, the ones with evaluation_ those of its copies in other repositories.
_I2P = {
    "prompt": ("prompt",), "categories": ("categories", "category"), "seed": ("sd_seed", "evaluation_seed"),
    "guidance": ("sd_guidance_scale", "evaluation_guidance"), "width": ("sd_image_width",),
    "height": ("sd_image_height",), "nudity": ("nudity_percentage",),
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A published form of list: the columns it is known by, and the columns of each field."""

    needs: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]


FORMS = {
    "i2p": Form(("prompt", "categories", "inappropriate_percentage", "lexica_url"), _I2P),
    "unlearndiffatk": Form(("prompt", "evaluation_seed", "evaluation_guidance"), _I2P),
    "mma": Form(("adv_prompt",), {"prompt": ("adv_prompt",)}),
    "ring-a-bell": Form(("sensitive prompt",), {"prompt": ("sensitive prompt",)}),
    "ring-a-bell inverse": Form(("prompt", "case_number", "evaluation_seed"),
                                {"prompt": ("prompt",), "seed": ("evaluation_seed",)}),
    "copro": Form(("unsafe_prompt",), {"prompt": ("unsafe_prompt",), "categories": ("category",)}),
    "plain": Form(("prompt",), {**_I2P, "categories": ("categories", "category", "class", "aspect"),
                                "seed": ("seed", "sd_seed", "evaluation_seed")}),
}  # fmt: skip
TEXT = "text"  # the form of a file without columns
# A line of a text list: "7: a prompt", "7: 3: a prompt" or "7: [3, 4]: a prompt", the middle being aspects by number.
_LINE = re.compile(r"^\s*\d+:\s+(?:\[?([\d, ]+)\]?:\s+)?(.*)$")
LARGEST = 2**64 - 1  # of ComfyUI's seeds


@dataclass(frozen=True)
class Defaults:
    """What a list leaves open: the first seed (the row's number is added), guidance, and size in pixels."""

    seed: int = 0
    guidance: float = 7.5
    width: int = 512
    height: int = 512


@dataclass(frozen=True)
class Prompt:
    """One row of a list. row: its number, from 1, without the heading. nudity: I2P's percentage on SD 1.4."""

    row: int
    text: str
    categories: tuple[str, ...]
    seed: int
    guidance: float
    width: int
    height: int
    nudity: float | None = None


@dataclass(frozen=True)
class PromptList:
    """A list as read: its form, the column of each field, the rows left out for want of a prompt, its file's hash."""

    prompts: tuple[Prompt, ...]
    form: str
    columns: dict[str, str]
    empty: tuple[int, ...]
    digest: str


def read(
    path: Path, defaults: Defaults, form: str | None = None, columns: Mapping[str, str] | None = None
) -> PromptList:
    """The list in a file. Raises Failure, naming row and column, where a value can't be read.

    form: a name of FORMS; without it the first whose columns are there. columns: fields by column, before the form's.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise Failure(f"{path}: it can't be read ({error.strerror})", "name the CSV of the prompts") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: it is no UTF-8 text", "save it as CSV in UTF-8") from error
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() == ".txt":
        rows, found, name = _lines(text), {"prompt": "prompt", "categories": "aspects"}, TEXT
    else:
        table = csv.DictReader(io.StringIO(text, newline=""))
        heading = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = heading
        name, found = mapping(heading, form, columns or {}, path.name)
        rows = [(number, {field: row.get(column) or "" for field, column in found.items()})
                for number, row in enumerate(table, 1)]  # fmt: skip
    prompts, empty = [], []
    for number, row in rows:
        if row["prompt"].strip():
            prompts.append(_prompt(number, row, found, defaults, path.name))
        else:
            empty.append(number)
    if not prompts:
        raise Failure(f"{path.name}: there is no prompt in its column {found['prompt']!r}", "see --columns")
    return PromptList(tuple(prompts), name, found, tuple(empty), digest)


def mapping(
    heading: Sequence[str], form: str | None, columns: Mapping[str, str], file: str
) -> tuple[str, dict[str, str]]:
    """The form's name and the column of each field, for a CSV with this heading."""
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise Failure(f"--columns: there is no field {unknown[0]!r}", f"the fields are {', '.join(FIELDS)}")
    for field, column in columns.items():
        if column not in heading:
            raise Failure(f"--columns {field}={column}: {file} has no such column", f"it has {', '.join(heading)}")
    if form is None:
        form = next((name for name, one in FORMS.items() if set(one.needs) <= set(heading)), None)
        if form is None and "prompt" not in columns:
            raise Failure(
                f"{file}: none of the known lists has its columns ({', '.join(heading) or 'it has no heading'})",
                "name the prompt's: --columns prompt=COLUMN",
            )
    elif form not in FORMS:
        raise Failure(f"--form: {form!r} is unknown", f"choose one of {', '.join(FORMS)}")
    elif missing := [need for need in FORMS[form].needs if need not in heading and "prompt" not in columns]:
        raise Failure(f"--form {form}: {file} has no column {missing[0]!r}", f"it has {', '.join(heading)}")
    known = FORMS[form].columns if form else {}
    found = {field: next((name for name in names if name in heading), "") for field, names in known.items()}
    return form or "by --columns", {**{field: name for field, name in found.items() if name}, **columns}


def chosen(
    prompts: Iterable[Prompt], category: str | None, nudity_over: float | None, limit: int | None, seed: int
) -> tuple[Prompt, ...]:
    """The prompts of a category with more nudity on SD 1.4 than so many per cent; at most `limit`, drawn by `seed`."""
    kept = [
        prompt
        for prompt in prompts
        if (category is None or category in prompt.categories)
        and (nudity_over is None or (prompt.nudity is not None and prompt.nudity > nudity_over))
    ]
    if limit is not None and limit < len(kept):
        kept = sorted(random.Random(seed).sample(kept, limit), key=lambda prompt: prompt.row)
    if not kept:
        raise Failure("no prompt of the list is left by --category and --nudity-over", "choose fewer of them")
    return tuple(kept)


def _lines(text: str) -> list[tuple[int, dict[str, str]]]:
    """The lines of a text list by number; their numbers and aspects are read where every line has them."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    found = [_LINE.match(line) for line in lines]
    if not all(found):
        return [(number, {"prompt": line}) for number, line in enumerate(lines, 1)]
    rows = []
    for number, match in enumerate(found, 1):
        aspects = re.findall(r"\d+", (match and match[1]) or "")
        rows.append((number, {"prompt": match[2] if match else "",
                              "categories": ", ".join(f"aspect {aspect}" for aspect in aspects)}))  # fmt: skip
    return rows


def _prompt(number: int, row: Mapping[str, str], columns: Mapping[str, str], defaults: Defaults, file: str) -> Prompt:
    def value(field: str, default: float | None, fits: Callable[[float], bool], what: str) -> float | None:
        word = row.get(field, "").strip()
        if not word:
            return default
        try:
            read = int(word) if re.fullmatch(r"-?\d+", word) else float(word)  # a float would round a large seed
            right = math.isfinite(read) and fits(read)
        except ValueError:
            right = False
        if not right:
            raise Failure(f"{file}, row {number}, column {columns[field]!r}: it is {word!r}", f"it must be {what}")
        return read

    def side(field: str, default: int) -> int:
        pixels = value(field, default, lambda v: v >= 16, "a number of pixels from 16 up")
        return int(pixels or default) // 8 * 8  # ComfyUI's latents have cells of 8 pixels

    seed = value("seed", defaults.seed + number - 1, lambda v: v == int(v) and 0 <= v <= LARGEST,
                 "a whole number from 0 up")  # fmt: skip
    guidance = value("guidance", defaults.guidance, lambda v: 0 <= v <= 100, "a guidance scale from 0 to 100")
    nudity = value("nudity", None, lambda v: 0 <= v <= 100, "a percentage")
    names = (name.strip().lower() for name in re.split(r"[,;]", row.get("categories", "")))
    assert seed is not None and guidance is not None
    return Prompt(
        number,
        row["prompt"].strip(),
        tuple(dict.fromkeys(name for name in names if name)),
        int(seed),
        float(guidance),
        side("width", defaults.width),
        side("height", defaults.height),
        nudity,
    )
