"""Prompt lists as they are published: which column is what, and what is done with rows that say nothing."""

import json
from pathlib import Path

import pytest

from bench.i2p import prompts
from bench.i2p.prompts import chosen, read
from runner.messages import Failure

DEMO = Path(prompts.__file__).with_name("demo.csv")
I2P = (
    "prompt,categories,hard,inappropriate_percentage,nudity_percentage,q16_percentage,sd_safety_percentage,"
    "prompt_toxicity,lexica_url,sd_seed,sd_guidance_scale,sd_image_width,sd_image_height,sd_model\n"
)


def write(folder, text, name="list.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def of(prompts):
    return [(p.row, p.text, p.categories, p.seed, p.guidance, p.width, p.height) for p in prompts]


def test_i2p_itself(tmp_path):
    text = I2P + '"a bomb, and\na cat","violence, self-harm",1,80.0,51.5,80,,.1,u,4294967295,7.5,512,768,1.4\n'
    listed, about = read(write(tmp_path, text, encoding="utf-8-sig"))
    assert about["columns"]["prompt"] == "prompt" and about["left_out"] == []
    assert of(listed) == [(1, "a bomb, and\na cat", ("violence", "self-harm"), 4294967295, 7.5, 512, 768)]
    assert listed[0].nudity == 51.5


@pytest.mark.parametrize(
    ("heading", "row", "expected"),
    [
        # I2P's copies in other repositories, UnlearnDiffAtk's cut among them
        (
            ",prompt,categories,hard,inappropriate_percentage,lexica_url,evaluation_seed,evaluation_guidance,sd_model",
            "0,a bomb,hate,1,50,u,12,7,x",
            ("a bomb", ("hate",), 12, 7.0),
        ),
        ("prompt,evaluation_seed,evaluation_guidance,case", "a bomb,12,7,x", ("a bomb", (), 12, 7.0)),
        ("prompt,case_number,evaluation_seed", "gun bleeds,3,58", ("gun bleeds", (), 58, 7.5)),
        ("sensitive prompt,normal prompt", "bad,good", ("bad", (), 100, 7.5)),
        ("target_prompt,adv_prompt,clean_prompt", "t,adv,c", ("adv", (), 100, 7.5)),
        ("idx,unsafe_prompt,safe_prompt,concept,category", "8,bad,good,c,Hate", ("bad", ("hate",), 100, 7.5)),
        ("prompt,aspect", "a bomb,Gore; Violence", ("a bomb", ("gore", "violence"), 100, 7.5)),
    ],
)
def test_kin_of_i2p_are_recognised_by_their_columns(tmp_path, heading, row, expected):
    (prompt,), _ = read(write(tmp_path, f"{heading}\n{row}\n"), 100)
    assert (prompt.text, prompt.categories, prompt.seed, prompt.guidance) == expected


def test_columns_named_by_the_user_come_first(tmp_path):
    path = write(tmp_path, "prompt,other,number\na,b,5\n")
    listed, about = read(path, columns={"prompt": "other", "seed": "number"})
    assert of(listed) == [(1, "b", (), 5, 7.5, 512, 512)]
    bare = write(tmp_path, "words,number\nb,5\n", "bare.csv")
    with pytest.raises(Failure, match="--columns prompt=COLUMN"):
        read(bare)
    assert read(bare, columns={"prompt": "words"})[0][0].text == "b"
    with pytest.raises(Failure, match="no such column"):
        read(bare, columns={"prompt": "word"})
    with pytest.raises(Failure, match="no field 'size'"):
        read(bare, columns={"size": "number"})


def test_text_lists(tmp_path):
    numbered, _ = read(write(tmp_path, "1: [3, 4]: a: bomb\n2: 7: a knife\n\n3: plain\n", "a.txt"), 5)
    assert [(p.text, p.categories, p.seed) for p in numbered] == [
        ("a: bomb", ("aspect 3", "aspect 4"), 5),
        ("a knife", ("aspect 7",), 6),
        ("plain", (), 7),
    ]
    # Not every line is numbered, so the number is the prompt's own.
    bare, _ = read(write(tmp_path, "2001: a space odyssey\na bomb\n", "b.txt"))
    assert [p.text for p in bare] == ["2001: a space odyssey", "a bomb"]


def test_rows_without_a_prompt_are_left_out_and_told(tmp_path):
    listed, about = read(write(tmp_path, "prompt,sd_seed\na,1\n ,2\nb,3\n"))
    assert [(p.row, p.seed) for p in listed] == [(1, 1), (3, 3)]
    assert about["left_out"] == [2]


@pytest.mark.parametrize(
    ("column", "word"),
    [
        ("sd_seed", "-1"),
        ("sd_seed", "1.5"),
        ("sd_seed", "seven"),
        ("sd_guidance_scale", "nan"),
        ("sd_image_width", "0"),
        ("sd_seed", str(2**64)),
    ],
)
def test_a_value_that_can_not_be_read_is_named(tmp_path, column, word):
    with pytest.raises(Failure, match=rf"row 2, column '{column}': expected .*, got '{word}'"):
        read(write(tmp_path, f"prompt,{column}\na,\nb,{word}\n"))


def test_large_seeds_are_kept_to_the_digit(tmp_path):
    seed = 2**64 - 3  # a float would round it
    assert read(write(tmp_path, f"prompt,sd_seed\na,{seed}\n"))[0][0].seed == seed


@pytest.mark.parametrize("ending", ["json", "jsonl", "tsv"])
def test_lists_in_other_files(tmp_path, ending):
    seed = 2**64 - 3
    rows = [{"prompt": " a, b", "sd_seed": seed, "categories": "hate"}, {"prompt": "007", "sd_seed": 5}]
    text = {
        "json": json.dumps(rows),
        "jsonl": "\n".join(map(json.dumps, rows)),
        "tsv": f"prompt\tsd_seed\tcategories\n a, b\t{seed}\thate\n007\t5\t\n",
    }[ending]
    listed, about = read(write(tmp_path, text, f"list.{ending}"))
    assert [row[1:4] for row in of(listed)] == [("a, b", ("hate",), seed), ("007", (), 5)]


def test_a_large_seed_that_a_file_lost_digits_of_is_refused(tmp_path):
    rows = [{"prompt": "a", "seed": 2**60 + 1}, {"prompt": "b", "seed": None}]  # pandas reads such a column as floats
    with pytest.raises(Failure, match="row 1, column 'seed'"):
        read(write(tmp_path, json.dumps(rows), "list.json"))


def test_a_file_that_is_no_list_is_named(tmp_path):
    for name, data in (("list.json", "{"), ("empty.csv", "")):
        with pytest.raises(Failure, match=f"{name}: expected a list of prompts"):
            read(write(tmp_path, data, name))


def test_choice_by_category_nudity_and_number(tmp_path):
    rows = "".join(f"p{i},{'sexual' if i % 2 else 'hate'},,,{i * 10},,,,u,{i},7,512,512,x\n" for i in range(10))
    listed, _ = read(write(tmp_path, I2P + rows))
    assert [p.row for p in chosen(listed, "sexual", 50.0, None, 0)] == [8, 10]  # p7 and p9; 50 itself is not above
    drawn = [p.row for p in chosen(listed, None, None, 4, 1)]
    assert drawn == sorted(drawn) and len(set(drawn)) == 4
    assert drawn == [p.row for p in chosen(listed, None, None, 4, 1)]
    assert drawn != [p.row for p in chosen(listed, None, None, 4, 2)]
    with pytest.raises(Failure, match="no prompt of the list is left"):
        chosen(listed, "gore", None, None, 0)


def test_list_of_the_demo_is_in_the_words_of_its_world():
    from demo import world
    from safelight.text.concepts import I2P_CATEGORIES

    listed, _ = read(DEMO)
    assert len(listed) == 48
    assert {name for prompt in listed for name in prompt.categories} <= set(I2P_CATEGORIES)
    for thing in world.UNSAFE:
        assert sum(thing.noun in prompt.text for prompt in listed) >= 2, thing.noun
