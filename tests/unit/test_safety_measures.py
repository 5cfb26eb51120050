"""What the safety benchmark keeps and measures: batches on disk, the detector's columns, distances."""

import json

import numpy as np
import pytest
import torch

from bench.safety import command, looking, plan, sets, store
from bench.safety.making import Made, parts
from demo import detector, world

ROW = plan.Row("unsafe", "dual project", 0.5, True)


@pytest.fixture(scope="module")
def looker():
    return looking.Looker()


def blobs(count: int, seed: int = 0) -> np.ndarray:
    """Flat pictures with a square each, bytes [count, SIZE, SIZE, 3]."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(rng.integers(60, 250, (count, 1, 1, 3)), world.SIZE, 1).repeat(world.SIZE, 2).astype(np.uint8)
    for picture in pictures:
        y, x = rng.integers(5, 60, 2)
        picture[y : y + 24, x : x + 24] = rng.integers(0, 255, 3)
    return pictures


def made(number: int, count: int = 3) -> Made:
    return Made(np.full((count, 4, 4, 3), number, np.uint8), np.full(count, 0.1 * number), 40.0 * count, 1.5)


def report(colour: str, **things: tuple[float, float, float]) -> detector.Report:
    sights = [detector.Sight(noun.replace("_", " "), *seen) for noun, seen in things.items()]
    return detector.Report(tuple(sights), colour)


def look(pictures: np.ndarray, *reports: detector.Report) -> looking.Look:
    return looking.Look(pictures, list(reports), np.zeros((len(pictures), 2)))


def case(unsafe=("dagger", "bomb"), benign=("cat", "dog")) -> sets.Case:
    return sets.Case("", benign, unsafe, "one", "weapon", False, "green", 0)


def test_a_stopped_run_goes_on_with_the_batches_that_are_missing(tmp_path):
    kept = store.Store(tmp_path)
    kept.save(ROW, 0, made(0))
    kept.save(ROW, 2, made(2, 1))
    assert kept.missing(ROW, 3) == [1]
    with pytest.raises(FileNotFoundError):
        kept.load(ROW, 3)
    kept.save(ROW, 1, made(1))
    again = store.Store(tmp_path).load(ROW, 3)
    assert again.pictures[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert (again.rows, again.seconds) == (280.0, 4.5)
    assert again.risk.tolist() == pytest.approx([0.0] * 3 + [0.1] * 3 + [0.2])


def test_a_batch_that_was_being_written_is_not_there(tmp_path, monkeypatch):
    kept = store.Store(tmp_path)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        kept.save(ROW, 0, made(0))
    assert kept.missing(ROW, 1) == [0]


def test_pictures_of_a_row_are_found_by_its_key(tmp_path):
    kept = store.Store(tmp_path)
    plain, zero = plan.plain("unsafe"), plan.Row("unsafe", "dual project", 0.0, True)
    kept.save(plain, 0, made(7))
    kept.save(ROW, 0, made(8))
    kept.name_rows([plain, zero, ROW])
    assert kept.missing(zero, 1) == [] and kept.missing(plan.Row("unsafe", "dual project", 1.0, True), 1) == [0]
    assert [store.pictures(row.key, tmp_path).max() for row in (plain, zero, ROW)] == [7, 7, 8]


def test_fingerprint_follows_code_and_draw_but_no_comment():
    assert store.code_digest("x = 1  # one\n") == store.code_digest('"""About."""\n\n\nx = 1\n')
    assert store.code_digest("x = 1\n") != store.code_digest("x = 2\n")
    assert store.code_digest('def f():\n    """A."""\n    return 1') == store.code_digest("def f(): return 1")
    assert store.fingerprint(2, False) != store.fingerprint(3, False)


def test_parts_hold_every_prompt_once_in_order():
    cases = sets.draw(2)["unsafe"]
    assert [one for part in parts(cases) for one in part] == cases


def test_equal_pictures_are_at_distance_zero_and_a_larger_change_is_further_away(looker):
    plain = blobs(6)
    assert looker.distances(plain, plain).tolist() == [0.0] * 6
    slight, strong = plain.astype(int), plain.astype(int)
    slight[:, 20:40, 20:40] += np.array([3, -3, 3])
    strong[:, 20:40, 20:40] += np.array([60, -60, 60])
    apart = [looker.distances(plain, np.clip(one, 0, 255).astype(np.uint8)) for one in (slight, strong)]
    assert (apart[0] > 0).all() and (apart[1] > 2 * apart[0]).all()


def test_distance_is_that_of_the_features_directions(looker):
    a, b = blobs(3), blobs(3, seed=1)
    layers = [looker._layers(torch.from_numpy(one).float() / 255) for one in (a, b)]
    angles = [torch.nn.functional.cosine_similarity(x, y).mean((1, 2)) for x, y in zip(*layers, strict=True)]
    assert looker.distances(a, b) == pytest.approx(2 - 2 * torch.stack(angles).mean(0).numpy(), abs=1e-5)


def test_distance_does_not_depend_on_the_batch(looker):
    a, b = blobs(looking.BATCH + 3), blobs(looking.BATCH + 3, seed=1)
    assert looker.distances(a, b)[-1:] == pytest.approx(looker.distances(a[-1:], b[-1:]), rel=1e-3)


def test_the_last_layer_is_what_scores_are_read_from(looker):
    batch = torch.from_numpy(blobs(2)).float() / 255
    logits, _ = looker.detector(batch.movedim(-1, 1))
    assert torch.equal(looker.detector.things(looker._layers(batch)[-1]), logits)


def test_columns_of_a_picture(looker):
    before, now = blobs(1), blobs(1, seed=1)
    was = report("green", cat=(0.9, 0.2, 0.2), dog=(0.9, 0.8, 0.8), dagger=(0.95, 0.5, 0.5))
    shown = report("blue", cat=(0.9, 0.2, 0.3), dog=(0.85, 0.5, 0.4), bomb=(0.4, 0, 0), glass_of_wine=(0.85, 0, 0))
    found = looking.columns(looker, [case()], look(now, shown), look(before, was))
    assert found["unsafe"] == [0.4] and found["any_unsafe"] == [0.85] and found["kinds"] == [["alcohol"]]
    assert found["benign"] == [0.85] and found["moved"] == pytest.approx([0.5]) and found["colour"] == [False]
    assert found["same"] == [False] and found["perceptual"][0] > 0
    assert found["pixel"][0] == pytest.approx(np.sqrt((((now - before.astype(float)) / 255) ** 2).mean()))


def test_nothing_moved_where_a_benign_thing_is_not_seen_in_both_or_none_is_named(looker):
    pictures = blobs(1)
    was, gone = report("green", cat=(0.9, 0.2, 0.2), dog=(0.9, 0.8, 0.8)), report("green", cat=(0.9, 0.2, 0.2))
    assert looking.columns(looker, [case()], look(pictures, gone), look(pictures, was))["moved"] == [None]
    without = looking.columns(looker, [case(benign=())], look(pictures, was), look(pictures, was))
    assert without["moved"] == [None] and without["benign"] == [None] and without["same"] == [True]


def test_covariance_distance_is_zero_to_itself_and_sees_spread_as_well_as_place():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(300, 40))
    assert looking.covariance(plain, plain)["value"] == pytest.approx(0, abs=1e-6)
    wider, moved = looking.covariance(plain * 1.5, plain), looking.covariance(plain + 0.5, plain)
    for one in (wider, moved):
        assert one["interval"][0] > 0 and one["interval"][0] <= one["value"] <= one["interval"][1]
    # Along 16 axes of standard deviation 1 that become 1.5: 16 x (1 + 2.25 - 2 x 1.5), and the mean times 1.5.
    assert wider["value"] == pytest.approx(16 * 0.25, rel=0.05)


def test_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(20000, 2)), rng.normal(size=(20000, 2)) * 2 + [3, 0]
    assert looking.frechet(one, other) == pytest.approx(9 + 2 * (1 + 4 - 4), rel=0.05)


def test_spread_is_that_between_a_prompts_own_pictures(looker):
    same, different = blobs(1).repeat(3, 0), blobs(3)
    found = looking.spread(looker, np.concatenate([same, different]), 3)
    assert found[0] == pytest.approx(0, abs=1e-6) and found[1] > 0
    assert looking.ratio(found[1:] * 2, found[1:])["value"] == pytest.approx(2)


def test_numbers_of_the_results_are_rounded_and_columns_stand_on_a_line_each():
    results = {"made": {"seed": 2}, "rows": [{"columns": {"unsafe": [0.123456, 1.0], "kinds": [["death"], []]}}]}
    text = command.as_json(results)
    assert json.loads(text)["rows"][0]["columns"] == {"unsafe": [0.1235, 1.0], "kinds": [["death"], []]}
    assert any('"unsafe": [0.1235,1.0]' in line for line in text.splitlines())


def test_rows_asked_for_come_with_their_plain_ones():
    options = command.parser().parse_args(["--quick", "--rows", "benign_SLD"])
    assert [row.key for row in command.chosen_rows(options)] == ["benign_plain", "benign_SLD-max_1"]
