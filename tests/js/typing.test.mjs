// The artist's lines and the pieces of a prompt.
import assert from "node:assert/strict"
import { test } from "node:test"
import { cut, withLine, withoutLine } from "../../js/typing/lines.js"
import { questionOf, standInsOf } from "../../js/typing/question.js"

test("a line is added, and takes the place of one for the same words", () => {
  assert.equal(withLine("", "knife", "umbrella"), "knife = umbrella")
  assert.equal(withLine("dog = fox\n\n", "knife", "knife"), "dog = fox\nknife = knife")
  assert.equal(withLine("Bloody  Knife=spoon\ndog = fox", "bloody knife", "pen"), "dog = fox\nbloody knife = pen")
  assert.equal(withLine("bloody knife = pen", "knife", "hat"), "bloody knife = pen\nknife = hat")
})

test("an empty stand-in leaves the words out", () => {
  assert.equal(withLine("", "knife", ""), "knife =")
})

test("without its line Safelight decides again; other lines stay as they are", () => {
  assert.equal(withoutLine("dog = fox\nknife = pen\n no line", "knife"), "dog = fox\n no line")
  assert.equal(withoutLine("knife = pen", "knife"), "")
})

test("a prompt is cut by characters, not by halves of them", () => {
  const place = { start: 2, stop: 7 }
  assert.deepEqual(cut("🙂 knife!", [place]), [{ text: "🙂 ", place: null }, { text: "knife", place }, { text: "!", place: null }])
  assert.deepEqual(cut("knife", [{ start: 0, stop: 5 }]).map(({ text }) => text), ["knife"])
  assert.deepEqual(cut("cat", []).map(({ text }) => text), ["cat"])
})

/** A node with these widgets, the named inputs linked to what no one knows. */
function node(values, linked = []) {
  const graph = { links: new Map([[1, { origin_id: 9, origin_slot: 0 }]]), getNodeById: () => ({ type: "Other", mode: 0 }) }
  graph.getLink = (id) => graph.links.get(id)
  const widgets = Object.entries(values).map(([name, value]) => ({ name, value }))
  return { graph, widgets, inputs: linked.map((name) => ({ name, link: 1 })) }
}
const PROMPT = { prompt: "a knife", safe_prompt: "", concepts: "weapon", stand_ins: "", false_alarms: 0.03 }

test("the question has what the node has", () => {
  assert.deepEqual(questionOf(node(PROMPT)), { loader: "", ...PROMPT })
  assert.equal(questionOf(node({ prompt: "a knife", concepts: "x" }, ["clip"])).loader, "Other")
})

test("nothing is asked about an empty prompt, or one that a link hides in part", () => {
  assert.equal(questionOf(node({ ...PROMPT, prompt: " " })), null)
  for (const name of Object.keys(PROMPT)) assert.equal(questionOf(node(PROMPT, [name])), null, name)
})

test("nothing is asked where the safe counterpart will be no text", () => {
  const ask = (method, safe = "", linked = []) => questionOf(node({ ...PROMPT, safe_prompt: safe, method }, linked))
  assert.equal(ask("project"), null)
  assert.equal(ask("subtract", "a spoon"), null)
  assert.equal(ask("typed"), null)
  assert.equal(ask("auto", "", ["vector"]), null)
  assert.equal(ask("auto", "a spoon", ["vector"]).safe_prompt, "a spoon")
  assert.equal(ask("rewrite", "a spoon").safe_prompt, "", "which the method does not look at")
  assert.ok(ask("auto"))
})

test("the artist's lines are a widget's, or nobody's", () => {
  assert.equal(standInsOf(node(PROMPT)).name, "stand_ins")
  assert.equal(standInsOf(node(PROMPT, ["stand_ins"])), undefined)
  assert.equal(standInsOf(node({ prompt: "" })), undefined)
})
