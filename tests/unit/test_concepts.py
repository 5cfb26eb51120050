"""Concept lists and anchor phrases."""

from safelight.text.anchors import BENIGN, FEW_BENIGN, FEW_UNSAFE, UNSAFE, anchors_for, everyday
from safelight.text.concepts import (
    DEFAULT_CONCEPTS,
    I2P_CATEGORIES,
    TEMPLATE_CONCEPTS,
    categories_of,
    is_term,
    join_concepts,
    mentions,
    split_concepts,
)

EVERY_UNSAFE = [phrase for phrases in UNSAFE.values() for phrase in phrases]
FEW = [phrase for phrases in FEW_UNSAFE.values() for phrase in phrases]


def test_the_default_is_slds_twenty_terms_and_the_categories_cover_them():
    terms = split_concepts(DEFAULT_CONCEPTS)
    assert len(terms) == 20
    assert sorted(terms) == sorted(term for terms in I2P_CATEGORIES.values() for term in terms)
    assert sorted(split_concepts(join_concepts(list(I2P_CATEGORIES)))) == sorted(terms)


def test_lists_are_split_and_cleaned():
    assert split_concepts(" a weapon,, A  Weapon ;blood\nsmoke, ") == ["a weapon", "blood", "smoke"]
    assert split_concepts(" ,\n;") == []


def test_own_words_join_the_ticked_categories():
    assert join_concepts(["hate"], "spiders, hate") == "hate, spiders"
    assert join_concepts([]) == ""


def test_every_default_term_belongs_to_its_category():
    for name, terms in I2P_CATEGORIES.items():
        assert name in categories_of(name)
        for term in terms:
            assert categories_of(term) == {name}


def test_own_words_belong_to_a_category_or_to_none():
    assert categories_of("naked people") == {"sexual"}
    assert categories_of("Guns") == {"illegal activity"}
    assert categories_of("spiders") == set()


def test_the_categories_and_their_terms_are_terms_and_a_thing_of_the_artists_is_none():
    for name, terms in I2P_CATEGORIES.items():
        assert is_term(name) and all(is_term(f" {term.upper()} ") for term in terms)
    for phrase in ("guns", "any weapon", "naked people", "spiders", ""):
        assert not is_term(phrase)


def test_the_concepts_of_the_templates_are_the_default_and_things_of_ones_own():
    phrases = split_concepts(TEMPLATE_CONCEPTS)
    assert phrases[:20] == split_concepts(DEFAULT_CONCEPTS)
    assert phrases[20:] and not any(map(is_term, phrases[20:]))


def test_a_plural_is_its_word_too():
    assert categories_of("wars") == categories_of("war") == {"violence"}
    assert mentions("two cats", "cat") and not mentions("a bu", "bus"), "a short word ends in its own s"


def test_a_text_mentions_a_phrase_where_every_word_of_it_occurs():
    assert mentions("a dress, red and long", "red dress")
    assert not mentions("a red car", "red dress") and not mentions("a dressing room", "dress")
    assert everyday(["red carriage"]) == list(BENIGN), "red things stay benign"


def test_anchors_are_many_distinct_and_balanced():
    assert len(BENIGN) >= 64 and len(EVERY_UNSAFE) >= 64
    assert set(UNSAFE) == set(I2P_CATEGORIES) and all(len(phrases) >= 9 for phrases in UNSAFE.values())
    assert len({p.lower() for p in (*BENIGN, *EVERY_UNSAFE)}) == len(BENIGN) + len(EVERY_UNSAFE)
    lengths = [sum(len(p.split()) for p in phrases) / len(phrases) for phrases in (BENIGN, EVERY_UNSAFE)]
    assert 0.7 < lengths[0] / lengths[1] < 1.4  # else length alone would tell them apart


def test_few_of_them_calibrate_and_every_category_has_some():
    assert set(FEW_BENIGN) < set(BENIGN) and len(FEW_BENIGN) + len(FEW) <= 72
    assert all(len(few) >= 3 and set(few) < set(UNSAFE[name]) for name, few in FEW_UNSAFE.items())


def test_only_the_named_categories_calibrate():
    benign, unsafe = anchors_for(["nudity"])
    assert unsafe == list(FEW_UNSAFE["sexual"]) and benign == list(FEW_BENIGN)
    assert anchors_for(split_concepts(DEFAULT_CONCEPTS))[1] == FEW


def test_own_words_make_their_own_anchors():
    benign, unsafe = anchors_for(["bicycles", "nudity"])
    assert any("bicycles" in phrase for phrase in unsafe) and set(FEW_UNSAFE["sexual"]) < set(unsafe)
    assert set(benign) <= set(FEW_BENIGN) and not any(mentions(phrase, "bicycles") for phrase in benign)
    named = {phrase for phrase in BENIGN if mentions(phrase, "bicycles")}
    assert named and set(BENIGN) - set(everyday(["bicycles", "nudity"])) == named
