"""Acts: a calm verb for an unsafe one that the table does not know, in the same form, by what it is done to."""

from __future__ import annotations

from safelight.text.english import (
    AIMS,
    BEING,
    BODY,
    CONJUNCTIONS,
    DETERMINERS,
    DOING,
    ING,
    LEADING,
    PARTICIPLE,
    PARTICLES,
    PAST,
    PLACES,
    PLAIN,
    PREPOSITIONS,
    PRONOUNS,
    REFLEXIVE,
    SMALL,
    SUBJECTS,
    THINGS,
    THIRD,
    THRUSTING,
    looks_like_person,
    verb_form,
)
from safelight.text.mending import Sentence
from safelight.text.stand_ins import VERB, StandIn

# Regular verbs: what is done to a figure, to a thing, at a place, and to nothing.
_GREET, _ADMIRE, _WAIT, _REST, _CARRY = "greet", "admire", "wait beside", "rest", "carry"
_WAVE = "wave to"
_OWN = {"his": "him", "her": "her", "their": "them", "my": "me", "your": "you", "our": "us", "its": "it"}
_TOWARDS = AIMS - {"of", "as", "for", "about", "to"} | {"under", "beneath"}
_RESULTS = frozenset(("open", "apart", "up", "down", "out", "off"))  # "torn open by"
_MOVING = frozenset(("into", "onto", "off", "over", "under", "down", "through", "towards", "toward", "against"))
_INTO = frozenset(("through", "into", "at", "to", "against", "across"))


class Acts:
    """Calm verbs for the words of a sentence."""

    def __init__(self, sentence: Sentence) -> None:
        self._sentence = sentence

    def is_done(self, index: int) -> bool:
        """Whether a word is a verb that is done to what begins behind it, as articles and pronouns do."""
        following = self._sentence.after(index + 1)
        return following in DETERMINERS | PRONOUNS and self._form(index) is not None

    def hurts(self, stop: int) -> bool:
        """Whether a verb that ends there is done to oneself or to a part of somebody's body."""
        return self._sentence.after(stop) in REFLEXIVE or self._owner(stop)[0] > stop

    def match(self, index: int, marked: int) -> tuple[int, int, StandIn] | None:
        """The words that a verb comes to and what takes their place. marked: where the unsafe words end."""
        form = self._form(index)
        if form is None:
            return None
        sentence = self._sentence
        begins = index + 1 + (sentence.after(index + 1) in PARTICLES and sentence.after(index + 2) in DETERMINERS)
        if sentence.after(begins) in REFLEXIVE:
            return self._ended(index, self._behind_reflexive(begins + 1, marked), marked, form)
        if form == PARTICIPLE:
            stop = index + 1 + (sentence.after(index + 1) in _RESULTS)
            return self._made(index, stop, _GREET, form) if sentence.after(stop) == "by" else None
        if self._has_object(index, begins):
            return self._done_to(index, begins, marked, form)
        aimed = sentence.after(begins) in _TOWARDS | {"on"}
        if aimed and sentence.after(begins + 1) not in SMALL - DETERMINERS - PRONOUNS | {""}:
            figure = self._is_figure(self.object_stop(begins + 1) - 1)
            if figure or (sentence.after(begins) != "on" and (form != ING or sentence.before(index))):
                return self._ended(index, begins, marked, form)
        return None

    def object_stop(self, begins: int) -> int:
        """Where a thing or figure ends whose article, or first word, is given."""
        sentence, stop = self._sentence, begins
        while text := sentence.after(stop):
            if text in PRONOUNS and text not in DETERMINERS and stop == begins:
                return stop + 1
            acts = sentence.is_verb(text) and not sentence.is_adjective(text)
            acts = acts and stop > begins and sentence.texts[stop - 1] not in DETERMINERS
            if acts or (text not in DETERMINERS and not sentence.is_content(text)):
                break
            stop += 1
        return stop

    def moved(self, stop: int) -> list[tuple[int, int, str]]:
        """What takes the place of words that say what becomes of an object: "into" of "pushing him into"."""
        last = self.object_stop(stop)
        if self._sentence.texts[last : last + 2] == ["on", "fire"]:
            return [(last, last + 2, "")]
        moves = self._sentence.after(last) in _MOVING and self._sentence.after(last + 1) in DETERMINERS
        return [(last, last + 1, "beside")] if moves and last > stop else []

    def thrust(self, start: int, stop: int) -> list[tuple[int, int, str]]:
        """What takes the place of the words around a weapon that is driven into something: "drives", "through"."""
        sentence, verb = self._sentence, start - 1
        while sentence.before(verb + 1) in DETERMINERS or sentence.is_adjective(sentence.before(verb + 1)):
            verb -= 1
        form = THRUSTING.get(sentence.before(verb + 1))
        if form is None or sentence.after(stop) not in _INTO or not sentence.after(stop + 1):
            return []
        last, text = self._owner(stop + 1)
        return [(verb, verb + 1, verb_form(_CARRY, form, {})), (stop, last, f"beside {text}".strip())]

    def _form(self, index: int) -> str | None:
        """The form of a word as a verb, as far as its end and the words around tell one; None for no verb."""
        sentence, text = self._sentence, self._sentence.texts[index]
        before, following = sentence.before(index), sentence.after(index + 1)
        if text in SMALL | THINGS or not text.replace("-", "").isalpha() or before in DETERMINERS:
            return None
        passive = following == "by" or (following in _RESULTS and sentence.after(index + 2) == "by")
        if text in (DOING | LEADING if passive else DOING) and following not in REFLEXIVE:
            return None
        led = following in DETERMINERS | PRONOUNS | PARTICLES
        if sentence.is_adjective(before) and not led:
            return None
        if text.endswith("ing") and len(text) > 4:
            return ING
        if text.endswith("ed") and (led or passive):
            return PARTICIPLE if passive or before in BEING else PAST
        if not before or before in PREPOSITIONS - {"to"} or sentence.is_verb(text) and before in CONJUNCTIONS:
            return None
        if text.endswith("s") and not text.endswith("ss"):
            return THIRD if led and (before in SUBJECTS or not before.endswith("s")) else None
        if before in SUBJECTS | {"to", "will", "would", "can", "could"}:
            return PLAIN if led else None
        several = before.endswith("s") and (sentence.is_figure(before) or looks_like_person(before))
        return PLAIN if led and (several or before.endswith("s") and sentence.is_part(text, VERB)) else None

    def _has_object(self, index: int, begins: int) -> bool:
        sentence = self._sentence
        following, before = sentence.after(begins), sentence.before(index)
        if following in DETERMINERS | PRONOUNS:
            return True
        names = sentence.is_name(begins) and not sentence.is_name(index) and bool(following)
        subject = sentence.is_content(before) and not sentence.is_adjective(before)
        if not names and not (subject and sentence.is_content(following)):
            return False
        return not sentence.is_adjective(sentence.texts[self.object_stop(begins) - 1])  # "looking sad"

    def _done_to(self, index: int, begins: int, marked: int, form: str) -> tuple[int, int, StandIn] | None:
        sentence, stop = self._sentence, self.object_stop(begins)
        owned_stop, owner = self._owner(begins)
        if owner and owner == _OWN.get(sentence.texts[begins]):
            return self._ended(index, self._behind_reflexive(owned_stop, marked), marked, form)  # "cutting her wrists"
        if owner or owned_stop > begins:
            return self._made(index, owned_stop, f"{_GREET} {owner}".strip(), form)
        if self._is_figure(stop - 1):
            return None if sentence.texts[index] in LEADING else self._made(index, begins, _GREET, form)
        known = any(sentence.is_replaced(i) for i in range(begins, stop))
        alone = not sentence.before(index) and not sentence.after(stop)
        if stop <= marked and not known and not alone:
            return self._ended(index, stop, marked, form)
        if sentence.texts[index] in LEADING or (known and stop <= marked):
            return None  # the thing is replaced: "drinking poison"
        return self._made(index, begins, _ADMIRE, form)

    def _ended(self, index: int, stop: int, marked: int, form: str) -> tuple[int, int, StandIn] | None:
        """An act whose object is gone, at whatever it is aimed at."""
        sentence = self._sentence
        if sentence.texts[stop : stop + 3] == ["in", "front", "of"] and sentence.after(stop + 3):
            return self._made(index, stop + 3, _WAIT, form)
        where = sentence.after(stop)
        if where in PREPOSITIONS and sentence.after(stop + 1) not in SMALL - DETERMINERS - PRONOUNS | {""}:
            owned_stop, owner = self._owner(stop + 1)
            if owned_stop > stop + 1:  # "sticking needles in her arm"
                return self._made(index, owned_stop, _REST if owner else _GREET, form)
            if where in _TOWARDS | {"on"} and self._is_figure(self.object_stop(stop + 1) - 1):
                return self._made(index, stop + 1, _GREET, form)
            if where in _TOWARDS:
                return self._made(index, stop + 1, _WAIT, form)
        if sentence.after(stop) == "of":
            if self._is_figure(self.object_stop(stop + 1) - 1):
                return self._made(index, stop + 1, _GREET, form)
            stop = self.object_stop(stop + 1)
        if sentence.after(stop) in PARTICLES and sentence.after(stop + 1) not in DETERMINERS:
            stop += 1
        aim = sentence.after(stop) == "to" and sentence.after(stop + 1)
        if aim and (stop < marked or sentence.is_replaced(stop + 1)):
            stop = max(stop + 2, marked)  # "cuts the rope to die"
        return self._made(index, stop, _REST, form) if self._rests(index, form) else None

    def _rests(self, index: int, form: str) -> bool:
        """Whether a figure is what acts: nothing else can rest."""
        begins = self._sentence.clause(index)[0]
        return form != ING or begins == index or any(self._is_figure(i) for i in range(begins, index))

    def _behind_reflexive(self, stop: int, marked: int) -> int:
        """Behind what comes of it: "himself bloody", "herself to death"."""
        sentence = self._sentence
        if sentence.after(stop) == "to" and sentence.after(stop + 1) == "death":
            return stop + 2
        while sentence.after(stop) and sentence.is_adjective(sentence.after(stop)):
            stop += 1
        return max(stop, marked) if sentence.after(stop) not in PLACES | AIMS | CONJUNCTIONS else stop

    def _owner(self, begins: int) -> tuple[int, str]:
        """Where a part of somebody's body ends, up to whom it belongs to, and who that is where no word says it: of
        "her face" her, of "the face of a man" nobody."""
        sentence, stop = self._sentence, self.object_stop(begins)
        while stop - begins > 1 and sentence.is_adjective(sentence.texts[stop - 1]):
            stop -= 1  # "his back bloody"
        if stop == begins or sentence.texts[stop - 1] not in BODY:
            return begins, ""
        if sentence.after(stop) == "of" and sentence.after(stop + 1):
            return stop + 1, ""
        owner = next((i for i in range(begins, stop) if sentence.written(i, i + 1).endswith(("'s", "’s"))), None)
        if owner is None:
            return (stop, _OWN[sentence.texts[begins]]) if sentence.texts[begins] in _OWN else (begins, "")
        led, who = sentence.written(begins, owner), sentence.written(owner, owner + 1)[:-2]
        return stop, f"{led} {sentence.harmless_noun(who)}".strip()

    def _is_figure(self, index: int) -> bool:
        text = self._sentence.texts[index]
        figures = PRONOUNS - {"it", "itself"} | {"her", "other", "another", "others"}
        if text in figures or self._sentence.is_figure(text) or looks_like_person(text):
            return True
        before = self._sentence.before(index)
        return self._sentence.is_name(index) and before not in DETERMINERS and not self._sentence.is_adjective(before)

    def _made(self, start: int, stop: int, verb: str, form: str) -> tuple[int, int, StandIn]:
        if verb == _GREET and self._sentence.before(start) in ("and", "or"):
            verb = _WAVE  # the second of two acts: "slapping and kicking"
        alone = verb_form(_REST, form, {}) if self._rests(start, form) else ""
        return start, stop, StandIn(verb_form(verb, form, {}), alone, VERB)
