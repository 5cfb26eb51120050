"""English words: plurals, verb forms, a and an, and the small words that join the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Irregular = Mapping[str, Mapping[str, Sequence[str]]]  # by word and form its spellings
PLAIN, THIRD, ING, PAST, PARTICIPLE = VERB_FORMS = ("plain", "s", "ing", "past", "participle")
_IRREGULAR_PLURALS = {
    **{"man": "men", "woman": "women", "child": "children", "person": "people", "foot": "feet", "tooth": "teeth"},
    **{"goose": "geese", "mouse": "mice", "knife": "knives", "leaf": "leaves", "loaf": "loaves", "scarf": "scarves"},
    **{"thief": "thieves", "shelf": "shelves", "half": "halves", "wolf": "wolves", "wife": "wives", "life": "lives"},
    **{"sheep": "sheep", "fish": "fish", "deer": "deer", "potato": "potatoes", "tomato": "tomatoes", "hero": "heroes"},
}
_PLAIN_MAN = ("human", "german", "roman", "shaman", "talisman", "ottoman", "norman")
# What stands behind the noun that takes the plural: "drops of water".
_BEHIND = re.compile(r" (?:of|in|on|with|at|for|from|to) ")
_SOUNDED = ("uni", "use", "usu", "eur", "one", "once", "ufo", "ute")  # begin with a vowel that sounds as "you" or "w"
_SILENT = ("hour", "honest", "honou", "heir")


def plural(noun: str) -> str:
    """Of a noun, or of the noun that leads a phrase."""
    behind = _BEHIND.search(noun)
    if behind:
        return plural(noun[: behind.start()]) + noun[behind.start() :]
    first, gap, last = noun.rpartition(" ")
    for singular, irregular in _IRREGULAR_PLURALS.items():
        ends = singular in ("man", "woman", "child", "fish") and not last.endswith(_PLAIN_MAN)
        if last == singular or (ends and last.endswith(singular)):
            return first + gap + last.removesuffix(singular) + irregular
    if re.search(r"(?:s|x|z|ch|sh)$", last):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", last) else f"{noun}s"


def verb_form(verb: str, form: str, irregular: Irregular) -> str:
    """Of a verb or of a phrase that it leads."""
    verb, gap, rest = verb.partition(" ")
    behind = gap + rest
    known = irregular.get(verb, {})
    spelt = known.get(form) or (known.get(PAST) if form == PARTICIPLE else None)
    if form == PLAIN or spelt:
        return (spelt[0] if spelt else verb) + behind
    doubled = verb + verb[-1] if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb) else verb
    if form == THIRD:
        return plural(verb) + behind
    if form == ING:
        dropped = verb[:-1] if re.search(r"[^eoy]e$", verb) else doubled
        return f"{dropped}ing{behind}"
    if verb.endswith("e"):
        return f"{verb}d{behind}"
    return f"{verb[:-1]}ied{behind}" if re.search(r"[^aeiou]y$", verb) else f"{doubled}ed{behind}"


def article(word: str) -> str:
    """Which of a and an stands before a word."""
    word = word.lower()
    vowel = word[:1] in "aeiou" and not word.startswith(_SOUNDED)
    return "an" if vowel or word.startswith(_SILENT) else "a"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


DETERMINERS = _set(
    """
    a an the some any another his her its their my your our this that these those two three four five six seven eight
    nine ten several many few both all every each no
    """
)
PLACES = _set(
    """
    with without in inside outside on under beneath beside behind near between amid among during before after above
    below
    """
)
# Behind a verb they lead to what it is done to: "spitting at a man".
AIMS = _set(
    """
    of into onto at by from against around through for as to over toward towards across upon off out up down about
    """
)
PREPOSITIONS = PLACES | AIMS
PARTICLES = _set("up down out off")
REFLEXIVE = _set("himself herself themselves itself myself yourself ourselves oneself")
PRONOUNS = _set("him her them me us you it himself herself themselves itself someone somebody people each one")
SUBJECTS = _set("he she they it we i you who which that whose whom where while when how why because until if whether")
BEING = _set(
    """
    is are was were be been being am has have had gets got get getting does do did will would can could should must may
    might
    """
)
JOINING = _set("where while when as")  # a figure and what it does
OPENING = _set("whose who which that how why because until if whether")  # a clause about what stands before
CONJUNCTIONS = _set("and or but & then as like than while")
SMALL = DETERMINERS | PREPOSITIONS | PRONOUNS | BEING | SUBJECTS | CONJUNCTIONS | _set("there not 's so")
# They lead to a thing and mean nothing without it: "covered in", "holding".
LEADING = _set(
    """
    covered soaked drenched dripping splattered spattered stained smeared filled full surrounded holding wearing
    carrying showing having using featuring containing depicting revealing exposing inspired made wielding brandishing
    smoking drinking called titled named labelled labeled reading saying says say reads shows holds wears carries uses
    swinging waving pointing throwing raising gripping clutching lined littered strewn because caption slogan words
    message inscription text topped infested stuffed adorned decorated loaded packed crawling swarming
    """
)
# Before "of" they hold something, and go with it.
HOLDING = _set(
    """
    lots pool pools puddle puddles plenty tons bits pieces pile piles bowl bottle glass jar bag bags stack stream
    streams drop drops mark marks trace traces lot heap heaps splash splashes box sack bucket trail
    """
)
# Verbs that are often what a figure does, in prompts.
DOING = _set(
    """
    stands sits walks runs lies looks holds wears waits watches smiles rides carries leans kneels floats flies rises
    hangs stares points opens lifts stand sit walk run lie look hold wear wait watch ride carry lean kneel emerges
    appears comes give gives giving gave offer offers offering
    """
)
TAKING = _set("find see show eat hold open lift pelt meet watch hit kick take make draw paint use need want got")
# They end as verbs do.
THINGS = _set(
    """
    wedding building ceiling evening morning clothing painting drawing lightning lighting railing landing string spring
    earring stocking stockings engraving sibling siblings darling pudding dumpling sterling viking duckling awning
    bedding ending meeting flooring ring king wing thing nothing something everything
    """
)
# Parts of a body that somebody else may be hurt at.
BODY = _set(
    """
    face head heads neck necks throat throats arm arms leg legs knee knees kneecap kneecaps finger fingers hand hands
    back stomach belly chest ribs skull teeth ear ears nose eye eyes wrist wrists thigh thighs hair shin shins foot feet
    temple heart body bodies behind bottom bum buttocks hips waist shoulder shoulders beard mouth lips cheek cheeks
    forehead tongue toe toes ponytail braids eyebrows
    """
)
EVENTS = _set("night dawn dusk sunset sunrise noon midnight home work school")
# They end as words for persons do.
_NO_PERSONS = _set(
    """
    murder slaughter terror horror gunpowder powder disorder fever together never ever rather whether however cancer
    ulcer tumor finger fingers shoulder shoulders liver bladder rubber laser razor revolver trigger banner poster paper
    letter skewer cleaver hammer dagger launcher lighter water river tower flower flowers leather weather summer winter
    feather silver copper corner center dinner shower computer mirror colour color interior exterior floor door danger
    anger power matter other monitor trailer number order fist mist twist wrist wrists list chest beer deer timber
    shutter roller drawer container cooler blender toaster
    """
)
_PERSON = re.compile(r".*(?:er|or|ist|man|woman|girl|boy)s?$|.*men$")
_ADJECTIVE = re.compile(r".*(?:ous|less|ful|ish|ical|able|ible|ied|-\w+(?:ed|ing))$")


def looks_like_person(word: str) -> bool:
    """Whether a word ends as those for persons do: "carjacker"."""
    return bool(_PERSON.match(word)) and word not in SMALL | _NO_PERSONS


def looks_like_adjective(word: str) -> bool:
    return bool(_ADJECTIVE.match(word))


_DRIVING = "drive plunge thrust ram stick jam shove push sink bury swing press hold point aim bring run level put"
_DROVE = dict(drive="drove", stick="stuck", sink="sank", swing="swung", hold="held", bring="brought", run="ran")
_DROVE |= dict(thrust="thrust", put="put")
# Forms of verbs that drive a weapon into something, by their spelling.
THRUSTING = {
    _DROVE[verb] if form == PAST and verb in _DROVE else verb_form(verb, form, {}): form
    for verb in _DRIVING.split()
    for form in (PAST, ING, THIRD, PLAIN)
}
