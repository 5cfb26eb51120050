"""What the safety benchmark keeps and measures: batches on disk, the detector's columns, distances."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.command import as_json, rounded
from bench.safety import command, form, plan, score, sets
from bench.safety.loop import LOOKED
from bench.safety.worker import Job, Worker, batches, load
from bench.store import Store
from demo import detector, world

ROW = plan.Row("unsafe", "dual project", 0.5, True)
CASES = sets.draw(2)["unsafe"][:60]  # three batches


@pytest.fixture(scope="module")
def scorer():
    return score.Scorer()


def blobs(count: int, seed: int = 0) -> np.ndarray:
    """Flat pictures with a square each, bytes [count, SIZE, SIZE, 3]."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(rng.integers(60, 250, (count, 1, 1, 3)), world.SIZE, 1).repeat(world.SIZE, 2).astype(np.uint8)
    for picture in pictures:
        y, x = rng.integers(5, 60, 2)
        picture[y : y + 24, x : x + 24] = rng.integers(0, 255, 3)
    return pictures


def put(store: Store, row: plan.Row, number: int, count: int = 3) -> None:
    """A batch of a row."""
    pictures, risk = np.full((count, 4, 4, 3), number, np.uint8), np.full(count, 0.1 * number)
    key = [*batches(row, CASES)][number]
    store.put_arrays(key, pictures=pictures, risk=risk, rows=np.full(count, 40.0), seconds=1.5)


def report(colour: str, **things: tuple[float, float, float]) -> detector.Report:
    sights = [detector.Sight(noun.replace("_", " "), *seen) for noun, seen in things.items()]
    return detector.Report(tuple(sights), colour)


def scored(pictures: np.ndarray, *reports: detector.Report) -> score.Scored:
    return score.Scored(pictures, list(reports), np.zeros((len(pictures), 2)), [0.25] * len(pictures))


def case(unsafe=("dagger", "bomb"), benign=("cat", "dog")) -> sets.Case:
    return sets.Case(benign, unsafe, "one", "weapon", False, "green", "")


def test_a_stopped_run_goes_on_with_the_batches_that_are_missing(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    put(store, ROW, 0)
    put(store, ROW, 2, 1)
    assert [key in store for key in batches(ROW, CASES)] == [True, False, True]
    with pytest.raises(KeyError, match="/001"):
        load(store, ROW, CASES)
    put(store, ROW, 1)
    again = load(Store(tmp_path / "store.sqlite"), ROW, CASES)
    assert again["pictures"][:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert (again["rows"].sum(), again["seconds"].sum()) == (280.0, 4.5)
    assert again["risk"].tolist() == pytest.approx([0.0] * 3 + [0.1] * 3 + [0.2])


def test_slider_zero_has_the_pictures_of_plain_sampling():
    zero, one = (plan.Row("unsafe", "dual project", x, True) for x in (0.0, 1.0))
    assert batches(zero, CASES) == batches(plan.plain("unsafe"), CASES) != batches(one, CASES)


def test_a_worker_scores_what_was_made_and_leaves_out_diversity_where_it_is_not_asked(tmp_path):
    job = Job(None, tmp_path / "store.sqlite", 2)
    worker, row = Worker(job), plan.Row("diversity", "SLD max", 1.0)
    for made, pictures in ((plan.plain("diversity"), blobs(2)), (row, blobs(2, seed=1))):
        key = [*batches(made, CASES[:2])][0]
        refused = np.zeros(2, bool)
        worker.store.put_arrays(
            key, pictures=pictures, risk=np.zeros(2), refused=refused, rows=np.full(2, 30.0), seconds=1.0
        )
    figures = worker.score(row, CASES[:2])
    assert figures["evaluations"] == 30.0 and figures["diversity"] is None
    assert figures["columns"]["rows"] == [1.0, 1.0]
    assert all(len(column) == 2 for column in figures["columns"].values())


def test_a_refused_prompt_shows_nothing_and_shapes_are_looked_at_where_they_are_asked_for(tmp_path):
    worker, row = Worker(Job(None, tmp_path / "store.sqlite", 2, forms=True)), plan.Row("unsafe", "SLD max", 1.0)
    ink = np.load(form.GLYPHS)["46"][0].astype(int)  # of a kitchen knife
    pictures = np.full((2, world.SIZE, world.SIZE, 3), world.COLOURS["green"], np.uint8)
    for i, picture in enumerate(pictures):
        place = picture[25 + i : 71 + i, 25:71]
        place[:] = place.astype(int) * (255 - ink[..., 3:]) // 255 + ink[..., :3]
    for made, refused in ((plan.plain("unsafe"), [False, False]), (row, [True, False])):
        key = [*batches(made, CASES[:2])][0]
        worker.store.put_arrays(
            key, pictures=pictures, risk=np.ones(2), refused=np.array(refused), rows=np.full(2, 30.0), seconds=1.0
        )
    columns = worker.score(row, CASES[:2])["columns"]
    assert columns["refused"] == [True, False] and columns["any_unsafe"][0] == 0.0 < columns["any_unsafe"][1]
    assert columns["benign"][0] is None and columns["malformed"] == [None, False] and columns["kinds"][0] == []
    assert columns["eye"][0] == columns["rows"][0] == 0.0  # a picture that is not there shows nothing and costs nothing


def test_of_a_loop_it_is_the_stock_samplers_picture_made_alone_that_one_at_level_0_is_compared_with(tmp_path):
    worker, row = Worker(Job(None, tmp_path / "store.sqlite", 2)), plan.Row("unsafe", "loop", 1.0, True)
    nothing = {"risk": np.zeros(3), "refused": np.zeros(3, bool), "rows": np.full(3, 40.0), "seconds": 1.0}
    looked = {name: np.zeros(3) for name in LOOKED} | {"stock": np.array([1.0, 0.0, np.nan])}
    for made, seed, more in ((plan.plain("unsafe"), 0, {}), (row, 1, {**looked, "rows": np.array([40.0, 40.0, 60.0])})):
        key = [*batches(made, CASES[:3])][0]
        worker.store.put_arrays(key, **{**nothing, "pictures": blobs(3, seed), **more})
    columns = worker.score(row, CASES[:3])["columns"]
    assert columns["same"] == [True, False, False] and columns["stock"] == [1.0, 0.0, None]
    assert columns["rows"] == [1.0, 1.0, 1.5] and {*LOOKED} <= {*columns}


def test_the_store_and_the_fingerprint_follow_the_draw_and_the_methods():
    where = {"host": "ComfyUI 1", "torch": "2"}
    files = {command.store_file(Path("cache"), quick, where) for quick in (False, True)}
    files.add(command.store_file(Path("cache"), False, {**where, "host": "ComfyUI 2"}))
    assert len(files) == 3
    marks = {command.fingerprint(False, {"CASG": digest}) for digest in ("a", "b")}
    assert len(marks) == 2


def test_batches_hold_every_prompt_once_in_order():
    cases = sets.draw(2)["unsafe"]
    assert [one for part in batches(ROW, cases).values() for one in part] == cases


def test_equal_pictures_are_at_distance_zero_and_a_larger_change_is_further_away(scorer):
    plain = blobs(6)
    assert scorer.distances(plain, plain).tolist() == [0.0] * 6
    slight, strong = plain.astype(int), plain.astype(int)
    slight[:, 20:40, 20:40] += np.array([3, -3, 3])
    strong[:, 20:40, 20:40] += np.array([60, -60, 60])
    apart = [scorer.distances(plain, np.clip(one, 0, 255).astype(np.uint8)) for one in (slight, strong)]
    assert (apart[0] > 0).all() and (apart[1] > 2 * apart[0]).all()


def test_distance_is_that_of_the_features_directions(scorer):
    a, b = blobs(3), blobs(3, seed=1)
    layers = [scorer._layers(torch.from_numpy(one).float() / 255) for one in (a, b)]
    angles = [torch.nn.functional.cosine_similarity(x, y).mean((1, 2)) for x, y in zip(*layers, strict=True)]
    assert scorer.distances(a, b) == pytest.approx(2 - 2 * torch.stack(angles).mean(0).numpy(), abs=1e-5)


def test_distance_does_not_depend_on_the_batch(scorer):
    a, b = blobs(score.BATCH + 3), blobs(score.BATCH + 3, seed=1)
    assert scorer.distances(a, b)[-1:] == pytest.approx(scorer.distances(a[-1:], b[-1:]), rel=1e-3)


def test_the_last_layer_is_what_scores_are_read_from(scorer):
    batch = torch.from_numpy(blobs(2)).float() / 255
    logits, _ = scorer.detector(batch.movedim(-1, 1))
    assert torch.equal(scorer.detector.things(scorer._layers(batch)[-1]), logits)


def test_columns_of_a_picture(scorer):
    before, now = blobs(1), blobs(1, seed=1)
    was = report("green", cat=(0.9, 0.2, 0.2), dog=(0.9, 0.8, 0.8), dagger=(0.95, 0.5, 0.5))
    shown = report("blue", cat=(0.9, 0.2, 0.3), dog=(0.85, 0.5, 0.4), bomb=(0.4, 0, 0), glass_of_wine=(0.85, 0, 0))
    found = score.columns(scorer, [case()], scored(now, shown), scored(before, was))
    assert found["unsafe"] == [0.4] and found["any_unsafe"] == [0.85] and found["kinds"] == [["alcohol"]]
    assert found["benign"] == [0.85] and found["moved"] == pytest.approx([0.5]) and found["colour"] == [False]
    assert found["same"] == [False] and found["perceptual"][0] > 0 and found["eye"] == [0.25]
    assert found["pixel"][0] == pytest.approx(np.sqrt((((now - before.astype(float)) / 255) ** 2).mean()))


def test_nothing_moved_where_a_benign_thing_is_not_seen_in_both_or_none_is_named(scorer):
    pictures = blobs(1)
    was, gone = report("green", cat=(0.9, 0.2, 0.2), dog=(0.9, 0.8, 0.8)), report("green", cat=(0.9, 0.2, 0.2))
    assert score.columns(scorer, [case()], scored(pictures, gone), scored(pictures, was))["moved"] == [None]
    without = score.columns(scorer, [case(benign=())], scored(pictures, was), scored(pictures, was))
    assert without["moved"] == [None] and without["benign"] == [None] and without["same"] == [True]


def test_covariance_distance_is_zero_to_itself_and_sees_spread_as_well_as_place():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(300, 40))
    assert score.covariance(plain, plain)["value"] == pytest.approx(0, abs=1e-6)
    wider, moved = score.covariance(plain * 1.5, plain), score.covariance(plain + 0.5, plain)
    for one in (wider, moved):
        assert one["interval"][0] > 0 and one["interval"][0] <= one["value"] <= one["interval"][1]
    # Along 16 axes of standard deviation 1 that become 1.5: 16 x (1 + 2.25 - 2 x 1.5), and the mean times 1.5.
    assert wider["value"] == pytest.approx(16 * 0.25, rel=0.05)


def test_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(20000, 2)), rng.normal(size=(20000, 2)) * 2 + [3, 0]
    assert score.frechet(one, other) == pytest.approx(9 + 2 * (1 + 4 - 4), rel=0.05)


def test_spread_is_that_between_a_prompts_own_pictures(scorer):
    same, different = blobs(1).repeat(3, 0), blobs(3)
    found = score.spread(scorer, np.concatenate([same, different]), 3)
    assert found[0] == pytest.approx(0, abs=1e-6) and found[1] > 0
    assert score.ratio(found[1:] * 2, found[1:])["value"] == pytest.approx(2)


def test_numbers_of_the_results_are_rounded_and_columns_stand_on_a_line_each():
    columns = {"unsafe": [0.123456, 1.0] * 100, "kinds": [["death"], []]}
    text = as_json(rounded({"made": {"seed": 2}, "rows": [{"columns": columns}]}))
    assert json.loads(text)["rows"][0]["columns"] == {"unsafe": [0.1235, 1.0] * 100, "kinds": [["death"], []]}
    assert [line for line in text.splitlines() if '"unsafe": [0.1235,1.0,' in line and '"kinds"' not in line]
