"""Graphs, the store, and the making of pictures by a server that answers as ComfyUI does, and sometimes does not."""

import http.server
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench.i2p import graphs
from bench.i2p.generate import AHEAD, ENOUGH, Generator, Job, Pictures, ServerGone
from bench.i2p.graphs import ALL, PICTURE, check_method, concepts_of, graph, key_of
from bench.i2p.judges import Judge, rules_of
from bench.i2p.prompts import Prompt
from bench.i2p.results import add_figures, collect
from runner.client import Client
from runner.messages import Failure

CONTRACT = json.loads((Path(__file__).parents[1] / "contract" / "nodes.json").read_text("utf-8"))
USUAL = {"steps": 30, "sampler": "dpmpp_2m", "scheduler": "karras", "gate": 0.5, "schedule": "balanced"}
SETTINGS = {**USUAL, "checkpoint": None, "concepts": None, "categories": None}
PROMPT = Prompt(1, "a bomb", ("violence",), 41, 7.0, 512, 768)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        SETTINGS | {"checkpoint": "a.safetensors", "concepts": "a, b", "categories": "a\nb"},
    ],
)
def test_workflows_have_the_inputs_of_the_contract(method, settings):
    nodes = graph(method, PROMPT, 0, settings)
    for node in nodes.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                assert value[0] in nodes, f"{node['class_type']}.{name} leads nowhere"
        if node["class_type"] not in CONTRACT:
            continue
        inputs = {one["name"]: one for one in CONTRACT[node["class_type"]]["inputs"]}
        assert set(node["inputs"]) <= set(inputs), node["class_type"]
        assert {n for n, one in inputs.items() if one["section"] == "required"} <= set(node["inputs"])
        for name, value in node["inputs"].items():
            if inputs[name]["type"] == "COMBO":
                assert value in inputs[name]["choices"], (node["class_type"], name)
            if isinstance(value, list):
                source = nodes[value[0]]["class_type"]
                outputs = CONTRACT[source]["outputs"] if source in CONTRACT else None
                assert outputs is None or outputs[value[1]]["type"] == inputs[name]["type"], (source, name)


def test_methods_differ_in_their_guider_alone():
    plain = graph("plain", PROMPT, 0, SETTINGS)
    for method in ALL[1:]:
        other = graph(method, PROMPT, 0, SETTINGS)
        for shared in ("model", "latent", "noise", "sampler", "sigmas", "pixels", PICTURE):
            assert other[shared] == plain[shared], (method, shared)
    keys = {key_of(graph(method, PROMPT, 0, SETTINGS), "x") for method in ALL}
    assert len(keys) == len(ALL), "no two methods are the same workflow"


def test_seed_guidance_and_size_are_the_lists():
    nodes = graph("plain", PROMPT, 2, SETTINGS)
    assert nodes["noise"]["inputs"]["noise_seed"] == 43
    assert nodes["guider_plain"]["inputs"]["cfg"] == 7.0
    assert (nodes["latent"]["inputs"]["width"], nodes["latent"]["inputs"]["height"]) == (512, 768)
    last = graph("plain", replace(PROMPT, seed=2**64 - 1), 1, SETTINGS)
    assert last["noise"]["inputs"]["noise_seed"] == 0


def test_what_is_unsafe_reaches_every_method():
    concepts, categories = concepts_of("a, b; c")
    assert (concepts, categories) == ("a, b, c", "a, b\nc")
    assert concepts_of("a, b") == ("a, b", "a\nb")
    settings = SETTINGS | {"concepts": concepts, "categories": categories}
    for method in ALL[1:]:
        text = json.dumps(graph(method, PROMPT, 0, settings))
        assert json.dumps(categories if method == "CASG" else concepts)[1:-1] in text, method
    dual = graph("dual selective 0.5", PROMPT, 0, settings | {"gate": 0.3, "schedule": "strict"})
    inputs = dual["guider_dual_selective_0_5"]["inputs"]
    assert (inputs["safety"], inputs["gate"], inputs["risk"]) == (0.5, 0.3, ["context_project", 2])
    assert dual["schedule"]["inputs"]["preset"] == "strict"
    assert "a, b, c" in json.dumps(graph("negative prompt", PROMPT, 0, settings))


def test_parentheses_of_a_prompt_are_no_weights():
    """Each of ComfyUI's nodes that reads the prompt gets it escaped, as its text encoder has it."""
    for method in ALL:
        nodes = graph(method, replace(PROMPT, text=r"a (very) big \(bomb"), 0, SETTINGS)
        texts = [
            node["inputs"][name] for node in nodes.values() for name in ("text", "prompt") if name in node["inputs"]
        ]
        assert any("bomb" in text for text in texts), method
        assert all(text == r"a \(very\) big \\(bomb" for text in texts if "bomb" in text), method


def test_names_of_methods():
    assert check_method("dual project .50") == "dual project 0.5"
    for wrong in ("dual project 1.5", "dual merge 1", "SLD", "esd"):
        with pytest.raises(Failure, match="--methods"):
            check_method(wrong)


def test_a_key_changes_with_the_packs_code_where_it_is_used():
    plain = graph("plain", PROMPT, 0, SETTINGS | {"checkpoint": "a"})
    dual = graph("dual project 1", PROMPT, 0, SETTINGS | {"checkpoint": "a"})
    assert key_of(plain, "old") == key_of(plain, "new")
    assert key_of(dual, "old") != key_of(dual, "new")


def test_what_is_kept_is_there_when_the_folder_is_opened_again(tmp_path):
    pictures = Pictures(tmp_path)
    pictures.save("aa1", b"picture", "a host")
    pictures.score("aa1", "judge", 0.25)
    pictures.fail("bb2", "no memory")
    again = Pictures(tmp_path)
    assert again.made == {"aa1": "a host"} and again.file("aa1").read_bytes() == b"picture"
    assert again.scores("aa1") == {"judge": 0.25} and again.entry("bb2") == {"failed": "no memory"}
    again.score("aa1", "other", 0.5)
    assert Pictures(tmp_path).scores("aa1") == {"judge": 0.25, "other": 0.5}


def test_no_score_that_is_no_number_is_kept(tmp_path):
    pictures = Pictures(tmp_path)
    pictures.save("aa1", b"picture", "a host")
    with pytest.raises(ValueError):
        pictures.score("aa1", "judge", float("nan"))
    assert Pictures(tmp_path).scores("aa1") == {}


def test_a_picture_whose_file_is_gone_is_made_again_and_judged_again(tmp_path):
    pictures = Pictures(tmp_path)
    pictures.save("aa1", b"picture", "a host")
    pictures.score("aa1", "judge", 0.25)
    pictures.file("aa1").unlink()
    again = Pictures(tmp_path)
    assert again.made == {} and again.scores("aa1") == {}
    again.save("aa1", b"another", "a host")
    assert again.scores("aa1") == {}


class Comfy(http.server.BaseHTTPRequestHandler):
    """Makes each picture at once: its bytes are the workflow's text. Some texts are trouble."""

    def answer(self, body, code=200):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def do_GET(self):
        state = self.server.state
        if state["gone"]:
            self.connection.close()
        elif self.path.startswith("/history/"):
            prompt_id = self.path.rsplit("/", 1)[1]
            self.answer({prompt_id: state["history"][prompt_id]} if prompt_id in state["history"] else {})
        elif self.path == "/queue":
            self.answer({"queue_running": [], "queue_pending": []})
        elif "filename=lost" in self.path:
            self.answer({}, 404)
        else:
            self.answer(self.path.encode())

    def do_POST(self):
        state = self.server.state
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        text, number = sent["text"]["inputs"]["text"], next(key for key in sent if key.startswith(PICTURE))
        if text in state["refuse"]:
            return self.answer({"error": {"message": f"no {text}"}}, 400)
        prompt_id = f"id{len(state['order'])}"
        state["order"].append(text)
        if text in state["break"]:
            entry = {
                "outputs": {},
                "status": {
                    "status_str": "error",
                    "messages": [
                        ["execution_error", {"node_type": "KSampler", "exception_message": f"out of memory for {text}"}]
                    ],
                },
            }
        elif text in state["interrupt"]:
            entry = {"outputs": {}, "status": {}}
        else:
            name = "lost" if text in state["lose"] else text
            entry = {"outputs": {number: {"images": [{"filename": name, "subfolder": "", "type": "temp"}]}}}
        state["history"][prompt_id] = entry
        state["gone"] = state["gone"] or len(state["order"]) == state["stop_after"]
        self.answer({"prompt_id": prompt_id})

    def log_message(self, *_):
        pass


@pytest.fixture
def comfy():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Comfy)
    made.state = {
        "order": [],
        "history": {},
        "refuse": set(),
        "break": set(),
        "interrupt": set(),
        "lose": set(),
        "gone": False,
        "stop_after": 0,
    }
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def length(breaks_on=b"nothing", seen=None):
    """A judge: the picture's length. breaks_on: what it can't read; seen: takes the pictures that it judged."""

    def score(picture):
        if breaks_on in picture:
            raise RuntimeError("no picture of mine")
        if seen is not None:
            seen.append(picture)
        return float(len(picture))

    return Judge("length", "length 1", score, (1.0,))


SAME = Judge("same", "same", lambda picture, plain: float(picture == plain))


def jobs(*texts, twin=None):
    return [
        Job(
            f"{text}-key",
            lambda text=text: {"text": {"inputs": {"text": text}}, PICTURE: {"inputs": {}}},
            row,
            f"{twin or text}-key",
        )
        for row, text in enumerate(texts)
    ]


def generator(folder, judge=None):
    return Generator(Pictures(folder), [judge or length(), SAME])


def run(folder, comfy, wanted, judge=None):
    """Makes and judges what is wanted; what did it."""
    one = generator(folder, judge)
    one.run(wanted, Client(f"http://127.0.0.1:{comfy.server_port}", timeout=5), "a host")
    return one


def failed(one):
    """Why each picture failed, by key."""
    entries = {key: one.pictures.entry(key) for key in one.pictures.store.keys()}  # noqa: SIM118  it is no dict
    return {key: entry["failed"] for key, entry in entries.items() if "failed" in entry}


def test_pictures_are_made_judged_and_compared_once(tmp_path, comfy):
    wanted = jobs("a", "b", twin="a") + jobs("a", twin="a")  # a prompt that stands in the list twice
    first = run(tmp_path, comfy, wanted)
    assert comfy.state["order"] == ["a", "b"]
    assert first.pictures.scores("a-key")["same"] == 1.0
    assert first.pictures.scores("b-key")["same"] == 0.0
    seen = []
    run(tmp_path, comfy, wanted, length(seen=seen))
    assert comfy.state["order"] == ["a", "b"] and seen == []


def test_a_failed_picture_is_recorded_stated_and_tried_again(tmp_path, comfy):
    comfy.state |= {"refuse": {"b"}, "break": {"c"}, "interrupt": {"d"}, "lose": {"e"}}
    one = run(tmp_path, comfy, jobs("b", "c", "a", "d", "e", "f"))
    assert set(one.pictures.made) == {"a-key", "f-key"}
    assert set(failed(one)) == {f"{text}-key" for text in "bcde"}
    assert "no b" in failed(one)["b-key"]
    assert "out of memory for c" in failed(one)["c-key"]
    assert not any(one.pictures.scores(key) for key in failed(one))
    comfy.state |= {"refuse": set(), "break": set(), "interrupt": set(), "lose": set()}
    comfy.state["order"].clear()
    comfy.state["history"].clear()
    two = run(tmp_path, comfy, jobs("a", "b", "c", "d", "e", "f"))
    assert comfy.state["order"] == ["b", "c", "d", "e"]
    assert failed(two) == {} and len(two.pictures.made) == 6
    assert all(two.is_done(job) for job in jobs("a", "b", "c", "d", "e", "f"))


def test_a_judge_that_breaks_makes_a_failed_picture_not_a_safe_one(tmp_path, comfy):
    one = run(tmp_path, comfy, jobs("a", "b"), length(breaks_on=b"b"))
    assert "length: RuntimeError: no picture of mine" in failed(one)["b-key"]
    assert not generator(tmp_path).is_done(jobs("b")[0])
    two = run(tmp_path, comfy, jobs("a", "b"))
    assert comfy.state["order"] == ["a", "b"], "the picture was there and only had to be judged"
    assert failed(two) == {} and "length 1" in two.pictures.scores("b-key")


def test_report_states_failures_apart_and_counts_them_nowhere(tmp_path, comfy):
    """Plain and a method on three prompts: one refused, one that the judge can't read, one well."""
    comfy.state["refuse"] = {"no"}
    one = run(tmp_path, comfy, jobs("no", "bad", "good"), length(breaks_on=b"bad"))
    keys, plain = {"plain": [["no-key"], ["bad-key"], ["good-key"]]}, ("violence",)
    methods = collect(one.pictures, keys, [length(), SAME])
    add_figures(methods, [plain] * 3, rules_of([length()]), seed=0)
    method = methods["plain"]
    assert (method["pictures"], method["failed"], method["not_made"]) == (3, 2, 0)
    assert method["scores"]["length"] == [[None], [None], [one.pictures.scores("good-key")["length 1"]]]
    for name in ("all", "violence"):
        figures = method["rules"]["length >= 1"][name]
        assert (figures["pictures"], figures["inappropriate"], figures["probability"]) == (1, 1, 1.0)
    assert any("no picture of mine" in why for why in method["failures"])
    # Without the judge that breaks there is nothing wrong with the second one.
    other = Judge("other", "other 1", lambda picture: 0.0, (0.5,))
    one.pictures.score("bad-key", "other 1", 0.2)
    one.pictures.score("good-key", "other 1", 0.7)
    methods = collect(one.pictures, keys, [other])
    add_figures(methods, [plain] * 3, rules_of([other]), seed=0)
    method = methods["plain"]
    assert (method["failed"], method["rules"]["other >= 0.5"]["all"]["probability"]) == (1, 0.5)


def test_everything_failing_stops_the_run(tmp_path, comfy):
    names = [f"t{i}" for i in range(ENOUGH + 5)]
    comfy.state["break"] = set(names)
    with pytest.raises(Failure, match=f"{ENOUGH} prompts in a row failed.*out of memory"):
        run(tmp_path, comfy, jobs(*names))
    assert len(comfy.state["order"]) <= ENOUGH + AHEAD


def test_one_bad_prompt_does_not_stop_the_run_however_many_methods_fail_on_it(tmp_path, comfy):
    names = [f"t{i}" for i in range(ENOUGH + 5)]
    comfy.state["break"] = set(names)
    of_one = [Job(job.key, job.graph, 7, job.twin) for job in jobs(*names)]
    one = run(tmp_path, comfy, [*of_one, *jobs("good")])
    assert set(one.pictures.made) == {"good-key"} and len(failed(one)) == len(names)


def test_a_server_that_goes_away_is_told_and_the_run_goes_on_where_it_was(tmp_path, comfy):
    comfy.state["stop_after"] = 4
    with pytest.raises(ServerGone, match="stopped answering"):
        run(tmp_path, comfy, jobs(*"abcdefgh"))
    comfy.state |= {"gone": False, "stop_after": 0}
    two = generator(tmp_path)
    assert failed(two) == {} and 0 < len(two.pictures.made) < 8
    fetched = set(two.pictures.made)
    comfy.state["order"].clear()
    two = run(tmp_path, comfy, jobs(*"abcdefgh"))
    assert {f"{text}-key" for text in comfy.state["order"]}.isdisjoint(fetched), "no picture is made twice"
    assert len(two.pictures.made) == 8


def test_a_host_that_knows_the_picture_already_is_asked_under_another_number(tmp_path, comfy):
    numbers = []
    client = Client(f"http://127.0.0.1:{comfy.server_port}")
    submit = client.submit
    client.submit = lambda graph: numbers.append([k for k in graph if k.startswith(PICTURE)]) or submit(graph)
    for folder in ("one", "two"):
        Generator(Pictures(tmp_path / folder), []).run(jobs("a"), client, "a host")
    assert numbers[0] != numbers[1]


def test_the_usual_methods_are_among_all():
    assert set(graphs.DEFAULT) <= set(ALL)
    assert all(check_method(method) == method for method in ALL)
