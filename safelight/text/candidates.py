"""What can take the place of unsafe words: stand-ins of the table by grammar, fewer words, a harmless noun."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace

from safelight.text.acts import Acts
from safelight.text.clauses import Word, words_of
from safelight.text.english import BEING, CONJUNCTIONS, DETERMINERS, JOINING, PREPOSITIONS, PRONOUNS, SUBJECTS
from safelight.text.mending import Sentence
from safelight.text.splicing import Draft
from safelight.text.stand_ins import ADJECTIVE, LONGEST, NOUN, PHRASE, STYLE, VERB, StandIn, StandIns

# In the order in which they are tried.
TABLE, FIGURE, LEFT_OUT, CLAUSE, NEAREST = range(5)
_HEAD = 5  # words from the beginning of a place to the figure that is kept of it


@dataclass
class Place:
    """A run of unsafe words, numbers start to stop of the prompt's, and which candidate replaces it."""

    start: int
    stop: int
    candidate: int = TABLE


@dataclass(frozen=True)
class Edit:
    """Words start to stop by a text, "" to leave them out. bare: it has no article. alone: the text where its object,
    up to number `object_stop`, is left out, for words that need one."""

    start: int
    stop: int
    text: str = ""
    bare: bool = False
    object_stop: int = 0
    alone: str = ""


class Candidates:
    """The candidates for places of a prompt.

    fixed: words that are not to be touched. knows: whether the artist's text encoder knows a word, None for one that
    reads any text. nearest: the harmless noun of the nearest meaning, "" for none.
    """

    def __init__(
        self,
        prompt: str,
        words: Sequence[Word],
        table: StandIns,
        fixed: Set[int],
        knows: Callable[[str], bool] | None,
        nearest: Callable[[str], str],
    ) -> None:
        self._prompt, self._words, self._table, self._fixed = prompt, words, table, fixed
        self._knows, self._nearest = knows, nearest
        self._sentence = Sentence(prompt, words, table)
        self._acts = Acts(self._sentence)

    def draft(self, places: Sequence[Place], own: Sequence[Edit]) -> Draft:
        """The prompt with a candidate in every place, and the artist's own."""
        draft = Draft(self._prompt, self._words)
        edits = self._of_own(own)
        earliest = 0
        for place in sorted(places, key=lambda one: one.start):
            edits += self.of(place, earliest)
            earliest = place.stop
        for edit in self._without_objects(self._apart(edits)):
            draft.replace(edit.start, edit.stop, edit.text, edit.bare)
        return draft

    def _of_own(self, own: Sequence[Edit]) -> list[Edit]:
        """The artist's edits, with what leads to words that are left out."""
        edits = []
        for edit in own:
            stand_in = StandIn(edit.text, edit.text, PHRASE)
            edits += (
                [self._replaced(edit.start, edit.stop, stand_in)] if edit.text else self.left_out(edit.start, edit.stop)
            )
        return edits

    def of(self, place: Place, earliest: int = 0) -> list[Edit]:
        """The edits that the candidate of a place comes to. earliest: where a phrase may begin that reaches into it."""
        if place.candidate == TABLE:
            return self._by_table(place, earliest)
        if place.candidate == FIGURE:
            return self._figure(place) or self.left_out(place.start, place.stop)
        if place.candidate == LEFT_OUT:
            return self.left_out(place.start, place.stop)
        if place.candidate == CLAUSE:
            return [Edit(self._sentence.clause(place.start)[0], self._sentence.clause(place.stop - 1)[1])]
        return self._noun(place)

    def left_out(self, start: int, stop: int) -> list[Edit]:
        """Words left out, with what leads to them."""
        edit = self._with_object(Edit(*self._sentence.without(start, stop)))
        ends = not edit.text and not self._sentence.after(edit.stop) and self._sentence.before(edit.start)
        goes_on = self._sentence.after(edit.stop) in JOINING
        opener = self._sentence.opener(edit.start) if not edit.text and (ends or goes_on) else None
        if opener is not None:
            return [Edit(opener, edit.stop)]
        joint = self._sentence.joint(edit.start) if ends else None
        return [edit] if joint is None else [edit, Edit(joint, joint + 1, "with")]

    def _with_object(self, edit: Edit) -> Edit:
        """ "beside" means nothing without what follows."""
        return replace(edit, object_stop=self._acts.object_stop(edit.stop)) if edit.text == "beside" else edit

    def _by_table(self, place: Place, earliest: int) -> list[Edit]:
        matches = self._matches(place, earliest)
        if not any(stand_in.text for *_, stand_in in matches) and place.stop - place.start > 1:
            matches = []
        if not matches:
            if self._knows is not None and self._sentence.names_a_thing(place.start, place.stop):
                return self._noun(place)
            return self._figure(place) or self.left_out(place.start, place.stop)
        edits: list[Edit] = []
        for i, (start, stop, stand_in) in enumerate(matches):
            follower = matches[i + 1] if i + 1 < len(matches) and matches[i + 1][0] == stop else None
            if not stand_in.text or (follower and _is_lost(stand_in, follower[2])):
                edits += [Edit(start, stop)] if follower else self.left_out(start, stop)
            else:
                edits.append(self._replaced(start, stop, stand_in))
                edits += self._around(start, stop, stand_in)
            edits += [Edit(i, i + 1) for i in self._adverbs(start, stop)]
        return edits

    def _around(self, start: int, stop: int, stand_in: StandIn) -> list[Edit]:
        """What no longer fits what was replaced: the fear of whom an act was done to, the thrust of a weapon."""
        if stand_in.part == NOUN:
            return [self._with_object(Edit(*words)) for words in self._acts.thrust(start, stop)]
        if stand_in.part != VERB:
            return []
        moods = [
            (i, one)
            for i in range(stop, self._acts.object_stop(stop))
            for one in self._table.of([self._sentence.texts[i]])[:1]
            if one.part == ADJECTIVE and self._is_known(one)
        ]
        return [self._replaced(i, i + 1, one) for i, one in moods] + [
            self._with_object(Edit(*words)) for words in self._acts.moved(stop)
        ]

    def _adverbs(self, start: int, stop: int) -> list[int]:
        """Words around an act that say how it is done: "brutally", "profusely"."""
        sentence, left = self._sentence, self._table.left
        before = [start - 1] if sentence.before(start) in left else []
        return before + ([stop] if sentence.after(stop) in left and sentence.after(stop).endswith("ly") else [])

    def _matches(self, place: Place, earliest: int) -> list[tuple[int, int, StandIn]]:
        result: list[tuple[int, int, StandIn]] = []
        i = place.start
        while i < place.stop:
            match = self._match(i, result[-1][1] if result else earliest)
            if not match or self._is_misread(i, match):
                match = self._act(i, place.stop) or match
            if match:
                result.append(match)
            i = match[1] if match else i + 1
        return result

    def _match(self, i: int, earliest: int) -> tuple[int, int, StandIn] | None:
        """The longest entry of the table that has word i in it, with its place. Phrases may begin before it."""
        texts = self._sentence.texts
        for length in range(LONGEST, 0, -1):
            for start in range(max(earliest, i - length + 1), i + 1):
                stop = start + length
                if stop > len(texts) or not self._fixed.isdisjoint(range(start, stop)):
                    continue
                fitting = [one for one in self._table.of(texts[start:stop]) if self._is_known(one)]
                fitting += [one for one in self._table.owners(texts[start:stop]) if self._is_known(one)]
                fitting.sort(key=self._is_there)  # a second one of what the prompt has is no good stand-in
                chosen = self._by_grammar(fitting, start, stop) if fitting else None
                if chosen:
                    return start, stop, chosen
        return None

    def _is_misread(self, i: int, match: tuple[int, int, StandIn]) -> bool:
        """Whether the table's stand-in is no verb where the word is one, or none that fits its object."""
        start, stop, stand_in = match
        if stand_in.part == VERB:
            return self._acts.hurts(stop)
        return stop - start == 1 and stand_in.part in (NOUN, ADJECTIVE) and self._acts.is_done(i)

    def _act(self, i: int, marked: int) -> tuple[int, int, StandIn] | None:
        """A calm verb for word i."""
        match = self._acts.match(i, marked)
        if match is None or not self._is_known(match[2]) or not self._fixed.isdisjoint(range(*match[:2])):
            return None
        return match

    def _is_known(self, stand_in: StandIn) -> bool:
        texts = (stand_in.text, stand_in.after)
        return self._knows is None or all(self._knows(word.text) for text in texts for word in words_of(text))

    def _is_there(self, stand_in: StandIn) -> bool:
        """Whether the prompt names the same already."""
        return bool(stand_in.text) and f" {stand_in.text} " in f" {' '.join(self._sentence.texts)} "

    def _by_grammar(self, stand_ins: Sequence[StandIn], start: int, stop: int) -> StandIn | None:
        """Of entries for the same words, the one whose part of speech fits."""
        sentence = self._sentence
        before, following = sentence.before(start), sentence.after(stop)
        by_part = {one.part: one for one in reversed(stand_ins)}
        last, noun = sentence.texts[stop - 1], sentence.is_part(sentence.texts[start], NOUN)
        if stop - start > 1 and sentence.is_content(following) and last in self._table.adjectives:
            by_part.pop(PHRASE, None)  # "eating a human" of "eating a human eye"
        if stop - start > 1 and not before and last in PREPOSITIONS and noun:
            by_part.pop(VERB, None)  # "vomit on" of "vomit on the floor"
        for part in (PHRASE, STYLE):
            if part in by_part:
                return by_part[part]
        describes = sentence.is_content(following) and (not sentence.is_verb(following) or before in DETERMINERS)
        if following in ("and", "or") and sentence.is_content(sentence.after(stop + 2)):
            next_one = sentence.texts[stop + 1]
            describes = describes or sentence.is_adjective(next_one) or next_one.endswith("ed")
        led = before in DETERMINERS or (before and sentence.is_adjective(before) and before not in BEING)
        is_form = sentence.texts[start].endswith(("ing", "ed", "s"))  # of a verb, rather than a noun
        if following in DETERMINERS | PRONOUNS:
            wanted = [VERB, NOUN, ADJECTIVE]
        elif describes:
            wanted = [ADJECTIVE, NOUN] if led else [ADJECTIVE, VERB, NOUN]
            if not led and before and before not in PREPOSITIONS | CONJUNCTIONS | SUBJECTS:
                wanted = [VERB, ADJECTIVE, NOUN]
        elif led or before in PREPOSITIONS:
            predicate = not led and ADJECTIVE in by_part and by_part[ADJECTIVE].after != by_part[ADJECTIVE].text
            wanted = [ADJECTIVE] if predicate else [NOUN, VERB, ADJECTIVE]
        elif before and before not in CONJUNCTIONS:
            wanted = [VERB, ADJECTIVE, NOUN] if following in PREPOSITIONS else [ADJECTIVE, VERB, NOUN]
        else:
            wanted = [ADJECTIVE, NOUN, VERB]
        if (
            VERB in wanted
            and not is_form
            and following not in DETERMINERS | PRONOUNS
            and before not in SUBJECTS | {"to"}
        ):
            wanted = [*(part for part in wanted if part != VERB), VERB]  # "bomb victims", "drinks poison"
        if not following and before and sentence.texts[start].endswith("ing") and not sentence.is_figure(before):
            wanted = [*(part for part in wanted if part != VERB), VERB]  # "an initiation beating"
        if led and not is_form or before.endswith(("'s", "’s")):
            wanted = [part for part in wanted if part != VERB]  # "a sniper's kill"
        chosen = next((by_part[part] for part in wanted if part in by_part), None)
        if (
            chosen
            and chosen.part == NOUN
            and describes
            and chosen.text.split()[0].endswith("ing")
            and " " in chosen.text
        ):
            return None  # "sleeping traveler parts"
        if chosen and chosen.part == ADJECTIVE and not describes and before in DETERMINERS:
            text = f"{chosen.text} figure"
            return StandIn(text, text, NOUN)
        if chosen and chosen.part == ADJECTIVE and not describes:
            return StandIn(chosen.after, chosen.after, ADJECTIVE)
        return chosen

    def _replaced(self, start: int, stop: int, stand_in: StandIn) -> Edit:
        text, before = stand_in.text, self._sentence.before(start)
        first, gap, rest = text.partition(" ")
        if gap and first in ("a", "an", "the") and (before in DETERMINERS or self._sentence.is_adjective(before)):
            text = rest
        if first == "wearing" and before.endswith("ing"):
            text = f"in {rest}"
        edit = Edit(start, stop, text, stand_in.mass and not self._sentence.describes(start, stop))
        if stand_in.part == VERB and stand_in.after != text:
            return replace(edit, object_stop=self._acts.object_stop(stop), alone=stand_in.after)
        return edit

    def _figure(self, place: Place) -> list[Edit]:
        """Of a longer place the first thing alone that it names, if that is harmless: of "two men fighting" the men."""
        sentence = self._sentence
        before = sentence.before(place.start)
        inside = (
            before and before not in DETERMINERS | PREPOSITIONS | CONJUNCTIONS and not sentence.is_adjective(before)
        )
        if inside and sentence.texts[place.start] not in DETERMINERS:
            return []
        clause_stop = min(place.stop, sentence.clause(place.start)[1])
        for head in range(place.start, min(clause_stop, place.start + _HEAD)):
            text = sentence.texts[head]
            if head == place.start and not before and (sentence.is_verb(text) or self._acts.is_done(head)):
                return self._object(place)
            if text in PREPOSITIONS | CONJUNCTIONS | SUBJECTS | BEING or (
                head == place.start and sentence.is_verb(text)
            ):
                return []
            nouns = [one for one in self._table.of([text]) if one.part == NOUN and self._is_known(one)]
            harmless = text in self._table.harmless or (sentence.names_a_person(head) and not self._table.of([text]))
            if (
                (not nouns and not harmless)
                or sentence.is_content(sentence.after(head + 1))
                and not (sentence.is_verb(sentence.after(head + 1)))
            ):
                continue
            between = range(place.start, head)
            edits = [Edit(i, i + 1) for i in between if sentence.texts[i] not in DETERMINERS]
            if nouns and not harmless:
                edits.append(self._replaced(head, head + 1, nouns[0]))
            if head + 1 < place.stop:
                edits += [Edit(head + 1, self.left_out(head + 1, place.stop)[0].stop)]
            return edits
        return []

    def _object(self, place: Place) -> list[Edit]:
        """What an act that nobody does is done to, without the act: of "taunting the beggar" the beggar."""
        texts = self._sentence.texts
        begins = next((i for i in range(place.start + 1, place.stop) if texts[i] in DETERMINERS), place.stop)
        verbs = all(one.endswith("ing") or one == "and" for one in texts[place.start : begins])
        return [Edit(place.start, begins)] if verbs and begins < place.stop else []

    def _noun(self, place: Place) -> list[Edit]:
        noun = self._nearest(" ".join(word.text for word in self._words[place.start : place.stop]))
        return [Edit(place.start, place.stop, noun)] if noun else self.left_out(place.start, place.stop)

    def _without_objects(self, edits: Sequence[Edit]) -> list[Edit]:
        """With other texts for those whose object is left out."""
        left = {i for edit in edits if not edit.text for i in range(edit.start, edit.stop)}
        small = {i for i, text in enumerate(self._sentence.texts) if text in DETERMINERS | CONJUNCTIONS}
        result = []
        for edit in edits:
            objects = set(range(edit.stop, edit.object_stop))
            result.append(replace(edit, text=edit.alone) if objects & left and objects <= left | small else edit)
        return result

    def _apart(self, edits: Sequence[Edit]) -> list[Edit]:
        """Edits that don't overlap and touch no fixed word: stand-ins first, what is left out around them."""
        taken = set(self._fixed)
        result: list[Edit] = []
        for edit in sorted(edits, key=lambda one: not one.text):
            free = [i for i in range(edit.start, edit.stop) if i not in taken]
            whole = len(free) == edit.stop - edit.start
            result += [edit] if edit.text and whole else [Edit(i, i + 1) for i in free]
            taken |= set(free)
        return result


def _is_lost(stand_in: StandIn, follower: StandIn) -> bool:
    """Whether of two stand-ins behind each other the first is too much: "clean" and "spoon" for "bloody knife"."""
    return (stand_in.part, follower.part) in (
        (ADJECTIVE, NOUN),
        (ADJECTIVE, ADJECTIVE),
        (NOUN, NOUN),
        (STYLE, NOUN),
        (STYLE, STYLE),
        (VERB, VERB),
    )
