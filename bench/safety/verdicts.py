"""The honest reading: who is ahead of whom, and by what, said from the figures and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .reading import BASELINE, BENIGN_SETS, COSTS, DUAL, PLAIN, PROJECT, SELECTIVE, Comparison, Reading, Row
from .statistics import CERTAIN, Standing, difference
from .tables import number, over_benign, percent, points, signed, table

EQUAL = {"layout": "equal layout", "perceptual": "equal distance (features)", "pixel": "equal distance (pixels)"}
DEFAULTS = (PROJECT, SELECTIVE)
BEYOND = ", beyond the slider's end"


def listed(words: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"


def _against(found: Comparison) -> str:
    return f"{found.verdict}: {points(found.difference)}{BEYOND if found.beyond else ''}"


def neighbours(reading: Reading, method: str) -> str:
    """Every neighbour at every setting beside a dual method's slider, at equal cost."""
    head = ("neighbour", "unsafe seen", *(EQUAL[cost] for cost in COSTS))
    return table(head, [
        (row.label, percent(row.seen()), *(_against(found) for found in reading.compare(row, method)))
        for row in reading.neighbours()
    ])  # fmt: skip


def ahead(reading: Reading, method: str) -> list[str]:
    """A sentence for each way of comparing: which neighbours are ahead of the slider, and how the others stand."""
    compared = [(row, found) for row in reading.neighbours() for found in reading.compare(row, method)]
    sentences = []
    for cost in COSTS:
        own = [(row, found) for row, found in compared if found.cost == cost]
        count = Counter(found.verdict for _, found in own)
        leaders = [f"{row.label} by {points(found.difference)} points{BEYOND if found.beyond else ''}"
                   for row, found in own if found.verdict == "ahead"]  # fmt: skip
        rest = f"{count['level']} of {len(own)} settings are level, {count['behind']} are behind"
        if leaders:
            sentences.append(f"At {EQUAL[cost]}, ahead of {method}: {'; '.join(leaders)}. Of the others, {rest}.")
        elif own:
            sentences.append(f"At {EQUAL[cost]} no neighbour is ahead of {method}: {rest}.")
    return sentences


def _place(row: Row, standing: Standing, others: Sequence[Row], reading: Reading, cost: str) -> str:
    """Where a slider position stands; where it is not on the front, behind whom and by what."""
    if standing.front:
        return f"on the front ({100 * standing.on_front:.0f} %)"
    other = others[standing.by[0]]
    fewer = difference(other.seen(), row.seen())
    if cost == "layout":
        less = f"layout {points(difference(other.layout_kept(), row.layout_kept()))}"
    else:
        gap = difference(other.distance(cost), row.distance(cost))
        less = f"distance {signed(gap.value, 3)} ({signed(gap.low, 3)} to {signed(gap.high, 3)})"
    sure = "surely" if standing.surely_behind else f"in {100 * standing.support[0]:.0f} % of resamples"
    return f"behind {other.label}, {sure}: unsafe seen {points(fewer)}, {less}"


def slider(reading: Reading) -> str:
    """Every position of the two defaults: on the front, or behind what."""
    places = {cost: reading.front(cost) for cost in COSTS}
    head = ("", *("layout" if cost == "layout" else EQUAL[cost].removeprefix("equal ") for cost in COSTS))
    body = []
    for method in DEFAULTS:
        for row in reading.slider(method):
            if row.x:
                cells = []
                for cost in COSTS:
                    others = [other for other, _ in places[cost]]
                    standing = next(s for other, s in places[cost] if other is row)
                    cells.append(_place(row, standing, others, reading, cost))
                body.append((row.label, *cells))
    return table(head, body)


def _behind(rows: list[tuple[Row, Standing]], others: Sequence[Row]) -> str:
    """Of a method's positions: how many are on the front, and behind what kind of setting the others are."""
    text = f"on it at {sum(standing.front for _, standing in rows)} of {len(rows)} positions"
    for word, families in (("a neighbour", None), ("a baseline", (BASELINE,)), ("another dual setting", (DUAL,))):
        own, sure = [], []
        for row, standing in rows:
            by = [(others[j].family, support) for j, support in zip(standing.by, standing.support, strict=True)]
            theirs = [support for family, support in by
                      if (family in families if families else family not in (DUAL, BASELINE, PLAIN))]  # fmt: skip
            own += [f"{row.x:g}"] if theirs else []
            sure += [f"{row.x:g}"] if theirs and max(theirs) >= CERTAIN else []
        if own:
            text += f", behind {word} at {listed(own)} (surely at {listed(sure)})"
    return text


def front(reading: Reading) -> list[str]:
    """Whether the defaults hold the front: a sentence or two for each cost."""
    sentences = []
    for cost in COSTS:
        places = reading.front(cost)
        others = [row for row, _ in places]
        methods = {m: [(row, standing) for row, standing in places
                       if row.method == m and row.x and row.context is None]
                   for m in DEFAULTS if reading.slider(m)}  # fmt: skip
        steps = sorted({row.x for rows in methods.values() for row, _ in rows if row.x})
        if not steps:
            continue
        held = {row.x for rows in methods.values() for row, standing in rows if standing.front}
        missing = [f"{x:g}" for x in steps if x not in held]
        against = "layout kept" if cost == "layout" else EQUAL[cost].removeprefix("equal ")
        text = f"Front of unsafe seen against {against}: "
        either = " or ".join(methods)
        text += f"without {either} at {listed(missing)}. " if missing else f"with {either} at every slider position. "
        sentences.append(text + "; ".join(f"{m} is {_behind(rows, others)}" for m, rows in methods.items()) + ".")
    return sentences


def in_brief(reading: Reading) -> list[str]:
    """As ahead and front, in a few words."""
    neighbours, sentences = reading.neighbours(), []
    for method in DEFAULTS if neighbours else ():
        if reading.slider(method):
            compared = [(row, found) for row in neighbours for found in reading.compare(row, method)]
            leaders = [(row.label, found) for row, found in compared if found.verdict == "ahead"]
            said = [
                f"at {EQUAL[cost]} {listed([who for who, found in leaders if found.cost == cost and not found.beyond])}"
                for cost in COSTS
            ]
            sentences.append(f"Of {len(neighbours)} settings of the neighbours, ahead of {method} within its slider's "
                             f"reach: {', '.join(said)}.")  # fmt: skip
            further = list(dict.fromkeys(who for who, found in leaders if found.beyond))
            if further:
                sentences.append(f"Beyond the slider's end, where more of the picture changes than all of the slider "
                                 f"does, fewer unsafe things are seen by {listed(further)}.")  # fmt: skip
    return sentences


def price(reading: Reading) -> list[str]:
    """Who is cheaper than the slider between its ends."""
    middle = reading.find(PROJECT, 0.5)
    if middle is None:
        return []
    rows = [row for row in reading.neighbours() if row.data["relative_rows"] < middle.data["relative_rows"]]
    cheaper = list(dict.fromkeys(row.method for row in rows))
    if not cheaper:
        return [f"No neighbour needs fewer rows than dual project at .5 ({middle.data['relative_rows']:.2f} x plain)."]
    return [f"Ahead in cost: {listed(cheaper)} need fewer rows of model evaluation than dual project at .5, which "
            f"needs {middle.data['relative_rows']:.2f} x plain."]  # fmt: skip


def gate(reading: Reading) -> list[str]:
    """What happens to prompts that ask for nothing unsafe."""
    sentences = []
    for method in DEFAULTS:
        same = over_benign(reading, method, 1.0, True, lambda r: r.column("same"))
        open_gate = over_benign(reading, method, 1.0, False, lambda r: r.column("perceptual"))
        if same and open_gate:
            sentences.append(f"With its gate, {method} at 1 leaves {percent(same, False)} of the {same.count} benign "
                             f"prompts' pictures bit-identical; with the gate held open it moves them by a distance of "
                             f"{number(open_gate)}.")  # fmt: skip
    others = []
    for row in reading.of("benign"):
        if row.family not in (DUAL, PLAIN):
            far = over_benign(reading, row.method, row.x, False, lambda r: r.column("perceptual"))
            others += [(far.value, row.label)] if far else []
    if others:
        least, most = min(others), max(others)
        sentences.append(f"The others have no gate: from {least[0]:.3f} ({least[1]}) to {most[0]:.3f} ({most[1]}).")
    return sentences


def edits(reading: Reading) -> list[str]:
    """Whether edits harm what is harmless: beside plain pictures of the same prompts and noises."""
    sentences = []
    for method in reading.edits:
        parts = []
        for cases in BENIGN_SETS:
            row, plain = reading.find(method, 1.0, cases), reading.find(PLAIN, cases=cases)
            if row is None or plain is None:
                continue
            kept, moved = difference(row.benign_kept(), plain.benign_kept()), row.distance()
            verdict = "fewer" if kept.high < 0 else "more" if kept.low > 0 else "as many as far as can be told"
            parts.append(f"on {cases} prompts {verdict} of the things named are there ({points(kept)} points), at a "
                         f"distance of {number(moved)}")  # fmt: skip
        if parts:
            sentences.append(f"{method}: {'; '.join(parts)}.")
    return sentences


def short(reading: Reading) -> list[str]:
    """The headline in sentences."""
    plain = reading.find(PLAIN)
    if plain is None:
        return []
    sentences = [f"Plain sampling shows what is unsafe in {percent(plain.seen())} of {plain.seen().count} pictures."]
    for method in DEFAULTS:
        ends = [row for row in (reading.find(method, 0.5), reading.find(method, 1.0)) if row]
        said = [f"in {percent(row.seen())} at {row.x:g}, with the layout kept in {percent(row.layout_kept())}"
                for row in ends]  # fmt: skip
        if said:
            sentences.append(f"{method[0].upper()}{method[1:]} shows it {'; '.join(said)}.")
    rows = [row for row in reading.neighbours() if row.x in (None, 1)]
    if rows:
        best = min(rows, key=lambda row: row.seen().value)
        sentences.append(f"Of the neighbours at their published strength {best.label} goes furthest: "
                         f"{percent(best.seen())}, layout kept in {percent(best.layout_kept())}.")  # fmt: skip
    return sentences
