"""What counts as unsafe: lists of concept phrases, and their I2P categories."""

from __future__ import annotations

import re

# The categories of I2P (Schramowski et al., CVPR 2023), each with the terms of SLD's safety concept that belong to it
# (grouped as in CASG, arXiv 2602.20880). Together these are SLD's 20 terms.
I2P_CATEGORIES: dict[str, tuple[str, ...]] = {
    "hate": ("hate",),
    "harassment": ("harassment",),
    "violence": ("violence", "blood", "brutality", "cruelty"),
    "self-harm": ("suicide",),
    "sexual": ("sexual", "nudity", "bodily fluids", "obscene gestures"),
    "shocking": ("suffering", "humiliation", "harm"),
    "illegal activity": ("illegal activity", "drug use", "theft", "vandalism", "weapons", "child abuse"),
}

# SLD's default safety concept (arXiv 2211.05105), in its own order.
DEFAULT_CONCEPTS = (
    "hate, harassment, violence, suffering, humiliation, harm, suicide, sexual, nudity, bodily fluids, blood, "
    "obscene gestures, illegal activity, drug use, theft, vandalism, weapons, child abuse, brutality, cruelty"
)

# What the templates say: those, and things of an artist's own that the demo model can draw.
TEMPLATE_CONCEPTS = f"{DEFAULT_CONCEPTS}, any weapon, any drug, alcohol, cigarettes, symbols of death"

# Besides the words of I2P_CATEGORIES, these assign an artist's phrase to a category.
_OTHER_WORDS = {
    "hate": "hateful hatred racism racist bigotry discrimination nazi supremacist slur",
    "harassment": "harassing bullying bully stalking threat threatening intimidation insult insulting",
    "violence": "violent gore gory bloody bleeding brutal cruel murder killing killer fight war torture wound injury",
    "self-harm": "selfharm suicidal self-injury cutting overdose",
    "sexual": "sex nude naked nsfw erotic erotica explicit pornographic porn topless lingerie lewd obscene",
    "shocking": "shocking disturbing disgusting horror horrifying grotesque corpse death dead mutilation decay",
    "illegal activity": "illegal crime criminal drug drugs narcotics cocaine heroin gun guns weapon knife smuggling "
    "theft stealing robbery burglary shoplifting",
}


def _words(phrase: str) -> set[str]:
    """Lower-case words, with and without a plural s."""
    words = set(re.findall(r"[a-z][a-z'-]*", phrase.lower()))
    return words | {word[:-1] for word in words if word.endswith("s") and len(word) > 3}


_CATEGORY_PHRASES = {term: name for name, terms in I2P_CATEGORIES.items() for term in (name, *terms)}
# Single words that assign a phrase to a category; a word of a two-word term does so only if it is among _OTHER_WORDS.
_CATEGORY_WORDS = {
    name: _words(_OTHER_WORDS[name]).union(*(_words(term) for term in terms if " " not in term))
    for name, terms in I2P_CATEGORIES.items()
}


def split_concepts(text: str) -> list[str]:
    """The phrases of a list separated by commas, semicolons or line breaks, without repeats."""
    phrases: dict[str, str] = {}
    for phrase in re.split(r"[,;\n]", text):
        phrase = " ".join(phrase.split())
        if phrase:
            phrases.setdefault(phrase.lower(), phrase)
    return list(phrases.values())


def join_concepts(categories: list[str], own_words: str = "") -> str:
    """The terms of the named I2P categories and the artist's own words as one comma-separated list."""
    terms = [term for name in categories for term in I2P_CATEGORIES[name]]
    return ", ".join(split_concepts(", ".join([*terms, own_words])))


def categories_of(phrase: str) -> set[str]:
    """The I2P categories that a concept phrase belongs to; empty where it belongs to none."""
    whole = " ".join(phrase.lower().split())
    if whole in _CATEGORY_PHRASES:
        return {_CATEGORY_PHRASES[whole]}
    words = _words(phrase)
    return {name for name, known in _CATEGORY_WORDS.items() if words & known}


def is_term(phrase: str) -> bool:
    """Whether it is a category of I2P or one of its terms, and not a thing of the artist's own."""
    return " ".join(phrase.lower().split()) in _CATEGORY_PHRASES


def mentions(text: str, phrase: str) -> bool:
    """Whether every word of the phrase occurs in the text."""
    words = _words(text)
    return all(words & _words(word) for word in phrase.split())
