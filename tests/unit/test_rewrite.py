"""Safe prompts by rewriting: what changes, what never does, and how it reads."""

import pytest

from safelight.text.candidates import FIGURE, LEFT_OUT, TABLE, Candidates, Place
from safelight.text.clauses import words_of
from safelight.text.markup import SEPARATORS
from safelight.text.reader import Reading
from safelight.text.rewrite import DECISION, Rewriter
from safelight.text.splicing import applied
from safelight.text.stand_ins import StandIns

from .fake_reader import FakeReader, parse, reading_of

TABLE_OF_TEST = {
    "table": {
        "violence": {
            "adjective": {
                "bloody": "clean",
                "nude": {"before": "clothed", "after": "fully clothed"},
                "dead": "sleeping",
            },
            "noun": {
                "axe": "guitar",
                "knife": "spoon",
                "gun": "umbrella",
                "killer": "neighbor",
                "blood": "~water",
                "bomb": "ball",
                "guts": "~ribbons",
            },
            "verb": {"stab": "greet", "kill": "hug", "bomb": "photograph"},
            "phrase": {
                "covered in blood": "covered in flour",
                "blood and guts": "flowers",
                "cutting her wrists": "washing her hands",
            },
            "style": {"gore": "", "nsfw": ""},
        }
    },
    "irregular": {
        "knife": {"plural": ["knives"]},
        "stab": {"past": ["stabbed"], "ing": ["stabbing"]},
        "greet": {"past": ["greeted"], "ing": ["greeting"]},
    },
    "left": ["brutally", "profusely"],
    "adjectives": ["long", "old", "big", "giant"],
    "people": ["man", "men", "woman"],
    "nouns": ["sunflower", "spoon", "ball", "cat"],
}


def rewrite(line, own="", knows=None):
    prompt, unsafe = parse(line)
    rewriter = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST, own), knows)
    return rewriter.rewrite(prompt, reading_of(unsafe))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        # By grammar.
        ("a man [stabbing] another man", "a man greeting another man"),
        ("a man [stabbed] in a kitchen", "a man greeted in a kitchen"),
        ("She [kills] him with an [axe]", "She hugs him with a guitar"),
        ("a [gun] on a table", "an umbrella on a table"),
        ("an [axe] and two [knives]", "a guitar and two spoons"),
        ("a pool of [blood]", "a pool of water"),
        ("a [blood] stain", "a water stain"),
        ("a [nude] woman", "a clothed woman"),
        ("a woman, [nude], beach", "a woman, fully clothed, beach"),
        ("a [nude] and tattooed man", "a clothed and tattooed man"),
        ("chained to the [dead]", "chained to the sleeping figure"),
        ("the [killer's] hat", "the neighbor's hat"),
        ("the [killer’s] hat", "the neighbor’s hat"),
        ("[bomb] victims", "ball victims"),
        ("[bombing] a village", "photographing a village"),
        ("a man brutally [stabbing] a woman", "a man greeting a woman"),
        # The first of two stand-ins is too much.
        ("a [bloody knife] on a table", "a spoon on a table"),
        ("a [bloody axe]", "a guitar"),
        # A phrase reaches beyond what was found.
        ("a man covered in [blood] on a bed", "a man covered in flour on a bed"),
        ("a girl [cutting] her [wrists]", "a girl washing her hands"),
        ("walls covered in [blood] and [guts]", "walls covered in flour and ribbons"),
        # Not in the table: left out, with what leads to it.
        ("a man holding a long [qxrz] in a garden", "a man in a garden"),
        ("a man covered in [qxrz] on a chair", "a man on a chair"),
        ("a room full of [qxrz]", "a room"),
        ("a woman with a pool of [qxrz]", "a woman"),
        ("a cat and a [qxrz] in a car", "a cat in a car"),
        ("a man finds a [qxrz] in the sand", "a man in the sand"),
        ("in the long grass [an qxrz], ink", "in the long grass, ink"),
        ("an [qxrz] old man", "an old man"),
        ("a room where a King [qxrzes his foe], ink", "a room where a King rests, ink"),
        ("a room where a King [qxrz], ink", "a room with a King, ink"),
        ("a room where a man stands, [qxrzing], ink", "a room where a man stands, ink"),
        ("a [qxrz] old man", "an old man"),
        ("a man [qxrzing] a woman", "a man greeting a woman"),
        ("a boy [spitzing] at a wall", "a boy waiting beside a wall"),
        ("[Qxrz] of a man", "A man"),
        ("a [qxrz] stands in the rain", "a person stands in the rain"),
        ("[qxrzes] are lying on the floor", "people are lying on the floor"),
        ("a man's [qxrz] on a plate", "a man on a plate"),
        ("a man with a [qxrz-smeared] coat", "a man with a coat"),
        ("a poster with the words [qxrz qxrz], ink", "a poster, ink"),
        # Tags.
        ("[nsfw], 1girl, beach", "1girl, beach"),
        ("1girl, [nsfw], beach", "1girl, beach"),
        ("1girl, beach, [nsfw]", "1girl, beach"),
        ("1girl, beach, [nsfw],", "1girl, beach"),
        ("long_hair, [bloody_knife], 1girl", "long_hair, spoon, 1girl"),
        # Nothing is left.
        ("[qxrz]", "sunflower"),
        ("a [qxrz]", "a sunflower"),
        ("[qxrz] and [qxrz]", "sunflower"),
    ],
)
def test_it_reads_as_a_sentence(line, text):
    made = rewrite(line)
    assert made.text == text
    assert made.after.risk < DECISION


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("([nude]:1.2), woman", "(fully clothed:1.2), woman"),
        ("cat, ([gore]:1.3), beach", "cat, beach"),
        ("cat, (([gore])), beach", "cat, beach"),
        ("cat, (dog, [gore]:1.1)", "cat, (dog:1.1)"),
        ("({[gore]}), cat", "cat"),
        ("([gore] <lora:x:1>:1.2), cat", "(<lora:x:1>:1.2), cat"),
        (r"cat, \([gore]\), beach", "cat, beach"),
        ("{[gore]|cat} on a bed", "{cat} on a bed"),
        ("{cat|[gore]} on a bed", "{cat} on a bed"),
        ("{[gore]|dog|cat}", "{dog|cat}"),
        (
            "embedding:gore, [nude] woman, <lora:gore:1>, __gore__",
            "embedding:gore, clothed woman, <lora:gore:1>, __gore__",
        ),
        ("cat,  dog\n[gore]\n red ,blue", "cat,  dog\n\n red ,blue"),
        ("cat BREAK [gore], dog", "cat BREAK dog"),
        ("A CAT AND A [KNIFE]", "A CAT AND A SPOON"),
        ("[Bloody] hands. [Dead] king.", "Clean hands. Sleeping king."),
        ("A dog. [Gore]. A cat.", "A dog. A cat."),
        ('a sign "[qxrz]", wall', "a sign, wall"),
        ("  cat ,dog,[gore]  ", "  cat ,dog"),
    ],
)
def test_markup_and_lines_stay(line, text):
    assert rewrite(line).text.rstrip() == text


@pytest.mark.parametrize("separator", SEPARATORS.strip("(?:)").split("|"))
def test_what_lies_behind_a_separator_is_another_text(separator):
    assert rewrite(f"cat {separator} [gore], dog").text == f"cat {separator} dog"
    assert rewrite(f"a room full {separator} of [qxrz]").text.startswith(f"a room full {separator}")


@pytest.mark.parametrize(
    "line",
    [
        "a man [stabbing] another man,  (with:1.2) an [axe] ,{red|[gore]}\n\tand [blood], <lora:x:1>",
        "[Qxrz] of a man holding a [qxrz], [nude]",
    ],
)
def test_nothing_but_the_changes_differs(line):
    made = rewrite(line)
    text, place = "", 0
    for change in made.changes:
        assert made.prompt[change.start : change.stop] == change.words
        assert change.start >= place
        text += made.prompt[place : change.start] + change.text
        place = change.stop
    assert made.text == text + made.prompt[place:] == applied(made.prompt, made.changes)


@pytest.mark.parametrize(
    "prompt", ["a cat,  a dog ,(red:1.2)\n\n a  a an", "", "((", "a knife, blood and gore", "a ()"]
)
def test_a_harmless_prompt_stays_as_it_is_and_is_read_once(prompt):
    texts = []

    def read(text):
        texts.append(text)
        return Reading(0.49, {}, "violence", ())

    made = Rewriter(FakeReader(), StandIns.load("")).rewrite(prompt, read)
    assert (made.text, made.changes, texts) == (prompt, (), [prompt])


def test_what_can_not_be_read_stays_as_it_is():
    made = Rewriter(FakeReader(), StandIns.load("")).rewrite("нож", lambda text: Reading(1.0, {}, "", (), "Cyrillic"))
    assert made.text == "нож" and not made.changes


def test_a_rewritten_prompt_is_not_rewritten_again():
    made = rewrite("a man [stabbing] a [nude] woman, [gore]")
    again = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite(made.text, reading_of({"stabbing", "nude", "gore"}))
    assert again.text == made.text


def test_a_stand_in_that_is_unsafe_itself_makes_place_for_the_next_candidate():
    made = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite("a cat with a knife", reading_of({"knife"}, "spoon"))
    assert made.text == "a cat" and not made.notes


def test_of_a_longer_run_the_figure_stays_that_it_begins_with():
    prompt = "two old men qxrzing each other, night"
    unsafe = {"two", "old", "men", "qxrzing", "each", "other"}

    def read(text):
        return reading_of(unsafe if text == prompt else {"greeting"})(text)

    assert Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite(prompt, read).text == "two men, night"


def test_the_candidates_of_a_place_come_in_order():
    prompt = "a house, two men stabbing a qxrz, night"
    candidates = Candidates(prompt, words_of(prompt), StandIns(TABLE_OF_TEST), frozenset(), None, lambda words: "ball")
    texts = []
    for candidate in range(5):
        texts.append(applied(prompt, candidates.draft([Place(3, 8, candidate)], []).changes()))
    assert texts == [
        "a house, two men greeting a qxrz, night",
        "a house, two men, night",
        "a house, night",
        "a house, night",
        "a house, ball, night",
    ]
    assert (TABLE, FIGURE, LEFT_OUT) == (0, 1, 2)


def test_the_clause_goes_where_its_words_alone_are_not_enough():
    def read(text):
        unsafe = reading_of({"bloody"})(text)
        return unsafe if unsafe.triggers else Reading(0.9 if "altar" in text else 0.1, {}, "violence", ())

    made = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite("a cat, a bloody altar of stone, night", read)
    assert made.text == "a cat, night"


@pytest.mark.parametrize("risk_of_others", [0.6, 0.9, 1.0])
def test_it_never_gets_riskier(risk_of_others):
    prompt = "a man with a knife"
    first = reading_of({"knife"})(prompt)

    def read(text):
        return first if text == prompt else Reading(risk_of_others, {}, "violence", ())

    made = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite(prompt, read)
    assert made.after.risk <= made.before.risk
    assert made.text == prompt and "nothing was changed" in made.notes[0]


def test_the_lesser_evil_is_kept_and_said():
    def read(text):
        return reading_of({"knife"})(text) if "knife" in text else Reading(0.55, {}, "violence", ())

    made = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite("a knife, a knife, a cat", read)
    assert "knife" not in made.text and made.after.risk == 0.55
    assert "still reads as unsafe" in made.notes[0]


def test_without_a_trigger_the_lexicon_says_where():
    def read(text):
        return Reading(0.9 if "gore" in text else 0.1, {}, "violence", ())

    assert Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite("a cat, gore", read).text == "a cat"


def test_harmless_phrases_are_not_touched():
    made = rewrite("a [killer] whale and a [killer] in a boat")
    assert made.text == "a killer whale and a neighbor in a boat"


@pytest.mark.parametrize("things", [{"whale"}, {"killer", "whale"}])
def test_a_thing_of_the_artists_is_replaced_in_a_harmless_phrase_too(things):
    prompt = "a cat and a killer whale in a boat"
    rewriter = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST))
    made = rewriter.rewrite(prompt, reading_of(things, category="any whale"))
    assert made.after.risk < DECISION and "whale" not in made.text and made.text.startswith("a cat")
    assert rewriter.rewrite(prompt, reading_of(things)).text == prompt, "of a category, the phrase stays"


SEVERAL = {**TABLE_OF_TEST, "table": {"violence": {"noun": {"knife": ["spoon", "fork", "~bread"]}}}}


@pytest.mark.parametrize(
    ("line", "known", "text"),
    [
        ("a cat with a [knife]", None, "a cat with a spoon"),
        ("a spoon and a [knife]", None, "a spoon and a fork"),
        ("a spoon, a fork and a [knife]", None, "a spoon, a fork and bread"),
        ("a cat with a [knife]", {"cat", "fork", "bread"}, "a cat with a fork"),
        ("a fork and a [knife]", {"fork", "bread"}, "a fork and bread"),
        ("a fork and a [knife]", {"fork"}, "a fork and a fork"),
        ("two [knives]", None, "two spoons"),
    ],
)
def test_of_several_stand_ins_the_first_is_taken_that_is_known_and_not_in_the_prompt(line, known, text):
    prompt, unsafe = parse(line)
    knows = None if known is None else (lambda word: word in known)
    rewriter = Rewriter(FakeReader(), StandIns(SEVERAL), knows)
    assert rewriter.rewrite(prompt, reading_of(unsafe)).text == text


def test_a_prompt_that_was_read_is_not_read_again():
    texts, read = [], reading_of({"knife"})

    def counted(text):
        texts.append(text)
        return read(text)

    prompt = "a man with a knife"
    made = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST)).rewrite(prompt, counted, read(prompt))
    assert made.text == "a man with a spoon" and texts == [made.text]


@pytest.mark.parametrize(
    ("own", "line", "text"),
    [
        ("knife = axe handle", "a Knife on a table", "an Axe handle on a table"),
        ("knife = a fork", "the knife", "the fork"),
        ("knife =", "a man with a knife on a chair", "a man on a chair"),
        ("bread knife = loaf", "a bread knife and a knife", "a loaf and a knife"),
        ("knife = fork", "a [knife] and a [gun]", "a fork and an umbrella"),
        ("blood = blood", "a [gun] and [blood]", "an umbrella and blood"),
        ("blood = blood", "a man [covered] in blood", "a man in blood"),
        ("killer whale = dolphin", "a killer whale", "a dolphin"),
        ("knife =", "a knife", "a sunflower"),
        ("Dr. Evil = Dr. Good", "dr. evil in a chair", "Dr. Good in a chair"),
    ],
)
def test_the_artists_lines_hold_everywhere(own, line, text):
    assert rewrite(line, own).text == text


def test_the_artists_lines_stay_where_the_rest_can_not_be_mended():
    made = Rewriter(FakeReader(), StandIns(TABLE_OF_TEST, "cat = dog")).rewrite(
        "a cat", lambda text: Reading(0.9, {}, "violence", ())
    )
    assert made.text == "a dog" and made.notes


def test_a_small_vocabulary_gets_words_that_it_knows():
    def knows(word):
        return word in {"cat", "ball"}

    assert rewrite("a cat and a [bomb]", knows=knows).text == "a cat and a ball"
    assert rewrite("a cat and a [gun] on it", knows=knows).text == "a cat and a ball on it"
    assert rewrite("a [bloody] cat", knows=knows).text == "a cat"
    assert rewrite("a cat and a [gun]", knows=lambda word: False).text == "a cat"
