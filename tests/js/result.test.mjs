import assert from "node:assert/strict"
import { test } from "node:test"
import { markWords, readFrames, readPictures, readReport, readVerdict } from "../../js/feedback/result.js"

const base = {
  format: 2, safety: 0.5, risk: 0.9, gate: 0.5, gate_open: true, harmless: false, context: 0.2, schedule: {}, merge: "every step",
  weights: [{ sigma: 14, progress: 0, w: 0 }, { sigma: 2, progress: 0.5, w: 0.5 }], rows: 5, remembered_rows: 2, plain_rows: 4, notes: ["a"],
  moved: [0.12], replaced: 0
}
const read = (more) => readReport(JSON.stringify({ ...base, ...more }))

test("a report", () => {
  assert.deepEqual(read(), {
    fault: "", state: "steered", safety: 0.5, risk: 0.9, gate: 0.5, context: 0.2, rows: 5, rememberedRows: 2, plainRows: 4, ratio: 1.25, notes: ["a"],
    moved: [0.12], replaced: 0, valued: 0, guided: 1, pictures: 1, look: null,
    calls: [{ progress: 0, weight: 0 }, { progress: 0.5, weight: 0.5 }]
  })
})

test("what a run was is told by what it did", () => {
  const idle = [{ sigma: 1, progress: null, w: 0 }]
  const why = "safety is 0: the stock sampler ran."
  assert.equal(read({ safety: 0, weights: idle }).state, "off")
  assert.equal(read({ gate_open: false, weights: idle }).state, "alone")
  assert.equal(read({ weights: [{ sigma: 1, progress: 0.1, w: 0 }] }).state, "waiting")
  assert.equal(read({ harmless: true, weights: idle }).state, "alone")
  assert.equal(read({ moved: [0, 0] }).state, "waiting", "never steered over a picture that nothing moved")
  assert.equal(read({ moved: [0, 0.01] }).state, "steered")
  assert.equal(read({ moved: [], replaced: 3 }).state, "steered")
  assert.equal(read({ moved: [], valued: 3 }).state, "steered")
  assert.equal(read({ levels: [0, 0.5, 1] }).pictures, 3)
  assert.deepEqual(read({ safety: 0, weights: idle, notes: [why, "b"] }).notes, ["b"])
  assert.deepEqual(read({ weights: idle }).calls, [], "no progress, no place in the plot")
  assert.equal(read({ rows: 0, plain_rows: 0, weights: [] }).ratio, null)
})

test("a report that is not one is a fault, never a number", () => {
  const odd = ["", "x", "[]", "null", "1", "{}", undefined, null, 7, {}]
  for (const text of odd) assert.equal(readReport(text).fault === "", false, String(text))
  for (const more of [
    { safety: 2 }, { risk: null }, { gate: "0.5" }, { gate_open: 1 }, { context: -1 }, { weights: {} }, { weights: [null] },
    { weights: [{ w: 2 }] }, { rows: "5" }, { plain_rows: null }, { remembered_rows: "2" },
    { moved: 1 }, { moved: [-1] }, { moved: [null] }, { replaced: "1" }, { valued: "1" }
  ]) assert.equal(read(more).fault, "unreadable", JSON.stringify(more))
  assert.equal(read({ format: 1 }).fault, "foreign")
  assert.equal(readReport(JSON.stringify(base).replace("0.9", "NaN")).fault, "unreadable")
})

const seen = (safety, score, words, early = false) => ({ safety, early, score, words })
const clear = seen(0, 0.1, "nothing")
const looked = (pictures, more = {}) => read({
  gate_open: false, risk: 0.1, safety: 1, moved: pictures.map((one) => (one.safety ? 0.1 : 0)), ...more,
  look: { detector: "a detector", passed: pictures.every((one) => one.passed), pictures }
})
const idle = { weights: [{ sigma: 14, progress: 0, w: 0 }] }

test("a look in which nothing is found leaves the stock picture, and is never said to have steered", () => {
  const one = { safety: 0, passed: true, looks: [seen(0, 0.2, "nothing", true), clear] }
  const report = looked([one, one], idle)
  assert.equal(report.state, "stock")
  assert.deepEqual(report.look, { steered: 0, levels: [], pictures: [one, one].map(() => ({ level: 0, steered: false, passed: true, words: "", found: [] })) })
})

test("a picture that a look had steered is never said to be the stock sampler's, whatever the gate", () => {
  const looks = [seen(0, 0.9, "knife", true), seen(0.5, 0.2, "nothing")]
  const report = looked([{ safety: 0.5, passed: true, looks }])
  assert.equal(report.state, "steered")
  assert.deepEqual(report.look.levels, [0.5])
  assert.deepEqual(report.look.pictures, [{ level: 0.5, steered: true, passed: true, words: "", found: [{ level: 0, early: true, words: "knife" }] }])
  const worded = looked([{ safety: 0.5, passed: true, safe_prompt: "a cat with a spoon", looks }])
  assert.equal(worded.look.pictures[0].words, "a cat with a spoon")
})

test("of a batch each picture is told by what was done to it", () => {
  const stock = { safety: 0, passed: true, looks: [clear] }
  const half = { safety: 0.5, passed: true, looks: [seen(0, 0.7, "gun"), seen(0.5, 0.3, "nothing")] }
  const left = { safety: 1, passed: false, looks: [seen(0, 0.9, "knife"), seen(0.5, 0.8, "knife"), seen(1, 0.6, "knife, gun")] }
  const report = looked([stock, half, left], { moved: [0, 0.05, 0.3] })
  assert.deepEqual([report.state, report.look.steered, report.look.levels], ["steered", 2, [0.5, 1]])
  assert.deepEqual(report.moved, [0.05, 0.3], "how far those that were steered were moved")
  assert.deepEqual(report.look.pictures.map((one) => [one.steered, one.passed, one.found.length]), [[false, true, 0], [true, true, 1], [true, false, 3]])
  // The last run may be one that left the others alone.
  assert.equal(looked([half], { moved: [0] }).look.pictures[0].steered, false, "nothing moved it")
  assert.equal(looked([half], { moved: [], replaced: 3 }).look.pictures[0].steered, true)
  assert.equal(looked([half, half], { moved: [0.1, 0.1], ...idle }).state, "steered")
})

test("what was found and could not be steered", () => {
  const found = { safety: 0, passed: false, looks: [seen(0, 0.9, "knife")] }
  assert.equal(looked([found], { ...idle, safety: 0 }).state, "off")
  // Harmless words have nothing to steer with, wherever the way began.
  const report = looked([{ ...found, safety: 0.5, looks: [seen(0.5, 0.9, "knife")] }], { ...idle, moved: [], harmless: true, gate_open: true })
  assert.deepEqual([report.state, report.look.pictures[0].steered, report.look.steered], ["alone", false, 0])
  assert.deepEqual(report.look.pictures[0].found, [{ level: 0, early: false, words: "knife" }])
})

test("the notes of a look are said by its lines, the others stay", () => {
  const notes = ["context was lowered.", "picture 1: at safety 0 nothing was found.", "a gun in the picture at safety 0; at safety 1 no level let it pass."]
  const one = { safety: 0, passed: true, looks: [clear] }
  assert.deepEqual(looked([one], { ...idle, notes }).notes, ["context was lowered."])
  assert.deepEqual(read({ notes }).notes, notes)
})

test("a look that is not one is a fault", () => {
  const one = { safety: 0, passed: true, looks: [clear] }
  for (const look of [
    null, 1, [], {}, { pictures: [] }, { pictures: [null] }, { pictures: [{ ...one, safety: 2 }] }, { pictures: [{ ...one, passed: 1 }] },
    { pictures: [{ ...one, looks: {} }] }, { pictures: [{ ...one, looks: [null] }] }, { pictures: [{ ...one, looks: [{ ...clear, words: 3 }] }] },
    { pictures: [{ ...one, looks: [{ ...clear, score: "high" }] }] }
  ]) assert.equal(read({ look }).fault, "unreadable", JSON.stringify(look))
})

test("a verdict", () => {
  const verdict = { risk: 0.8, method: "rewrite", words: ["knife", "", 3], notes: ["n", 3], safe_prompt: "a spoon", changes: ["spoon", "", 3] }
  assert.deepEqual(readVerdict(JSON.stringify(verdict)), {
    fault: "", risk: 0.8, method: "rewrite", words: ["knife"], notes: ["n"], safePrompt: "a spoon", changes: ["spoon"]
  })
  for (const more of [{ risk: -1 }, { method: 1 }, { words: "knife" }]) {
    assert.equal(readVerdict(JSON.stringify({ ...verdict, ...more })).fault, "unreadable")
  }
})

test("a safe counterpart that is no text has no safe prompt and no changes", () => {
  const verdict = { risk: 0.8, method: "project", words: ["knife"], notes: [] }
  for (const more of [{}, { safe_prompt: null, changes: null }, { safe_prompt: 3, changes: "spoon" }, { safe_prompt: ["a"], changes: {} }]) {
    const { fault, safePrompt, changes } = readVerdict(JSON.stringify({ ...verdict, ...more }))
    assert.deepEqual([fault, safePrompt, changes], ["", "", []], JSON.stringify(more))
  }
})

test("the new words of a safe prompt are marked in it", () => {
  const { safePrompt, changes } = readVerdict(JSON.stringify({
    risk: 0.8, method: "rewrite", words: ["naked"], notes: [], safe_prompt: "A clothed woman, (mugs of tea:1.2)", changes: ["clothed", "mugs of tea"]
  }))
  const { pieces, missing } = markWords(safePrompt, changes)
  assert.deepEqual(pieces.filter((piece) => piece.marked).map((piece) => piece.text), ["clothed", "mugs of tea"])
  assert.deepEqual(missing, [])
  assert.equal(pieces.map((piece) => piece.text).join(""), safePrompt)
})

test("words are marked where they stand alone, whatever their case, and the text stays whole", () => {
  const marked = (text, words) => markWords(text, words).pieces.filter((piece) => piece.marked).map((piece) => piece.text)
  assert.deepEqual(marked("a Knife, knives, (knife:1.3) penknife", ["knife"]), ["Knife", "knife"])
  assert.deepEqual(marked("penknife", ["knife"]), ["knife"], "else inside another word")
  assert.deepEqual(marked("一把刀在桌上", ["刀"]), ["刀"])
  assert.deepEqual(marked("a+b (c", ["a+b", "(c"]), ["a+b (c"], "no word is a pattern")
  assert.deepEqual(marked("a kitchen  knife, knife", ["knife", "kitchen"]), ["kitchen  knife", "knife"], "side by side, one mark")
  assert.deepEqual(markWords("a spoon", ["knife"]).missing, ["knife"])
  for (const text of ["", "x", "kitchen knife", "<b>knife</b>"]) {
    const { pieces } = markWords(text, ["knife", "kitchen knife", "fe"])
    assert.equal(pieces.map((piece) => piece.text).join(""), text)
  }
})

const file = { filename: "a.png", subfolder: "", type: "temp" }

test("pictures: each part is the whole batch, or all of it is not shown", () => {
  const parts = { after: [file, file], before: [file, file], map: [file, file], when: [file, file] }
  assert.deepEqual(readPictures(JSON.stringify(parts)), { fault: "", ...parts })
  assert.deepEqual(readPictures(JSON.stringify({ after: [file] })), { fault: "", after: [file] })
  for (const odd of [{}, { after: [] }, { ...parts, before: [file] }, { ...parts, when: "a" }]) {
    assert.equal(readPictures(JSON.stringify(odd)).fault, "unreadable", JSON.stringify(odd))
  }
})

test("frames of a strip: by level, each the whole batch", () => {
  const frame = (more) => ({ safety: 0.5, pictures: [file, file], ...more })
  const looked = frame({ found: ["", "a knife"], enough: [true, false] })
  for (const frames of [[frame()], [frame({ safety: 0 }), frame()], [looked, looked]]) {
    assert.deepEqual(readFrames(JSON.stringify({ seed: 7, frames })), { fault: "", seed: 7, frames })
  }
  const odd = [[], "a", [null], [frame({ safety: 2 })], [frame(), frame({ pictures: [file] })], [frame({ found: ["", ""] })], [frame({ pictures: [] })]]
  for (const frames of odd) assert.equal(readFrames(JSON.stringify({ seed: 7, frames })).fault, "unreadable", JSON.stringify(frames))
  assert.equal(readFrames(JSON.stringify({ frames: [frame()] })).fault, "unreadable", "no seed")
})
