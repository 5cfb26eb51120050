import assert from "node:assert/strict"
import test from "node:test"

import { readCurve, scheduleFault, writeCurve } from "../../js/schedule/curve_value.js"

const LINE = { points: [[0, 0.5], [1, 1]], interpolation: "linear" }

test("one curve in every form that a workflow may hold it in", () => {
  const forms = [
    LINE,
    JSON.stringify(LINE),
    { __value__: LINE },
    { __type__: "CURVE", __value__: LINE },
    JSON.stringify({ __type__: "CURVE", __value__: LINE }),
    { ...LINE, points: [[1, 1], [0, 0.5]] }
  ]
  for (const form of forms) {
    const read = readCurve(form)
    assert.equal(read.fault, "")
    assert.deepEqual(read.curve, LINE)
    assert.deepEqual(JSON.parse(read.value), typeof form === "string" ? JSON.parse(form) : form)
  }
})

test("where no interpolation is given it is the host's", () => {
  assert.deepEqual(readCurve([[0, 0.5], [1, 1]]).curve, { ...LINE, interpolation: "monotone_cubic" })
})

test("what cannot be read is passed on as text, told apart from a curve", () => {
  const broken = [
    undefined, null, 5, NaN, true, "", "{oops", "5", "null", [], [3, 0], ["4", 0], {}, { points: [[0, 1]] },
    { points: [[0, 1], [1, 1.01]] }, { points: [[0, 1], [0, 0.5], [1, 1]] }, { points: [[0, 1], [1, null]] },
    { points: [[0, 1], [5e-324, 0]] }, { ...LINE, interpolation: "spline" }, { ...LINE, interpolation: null },
    { __type__: "IMAGE", __value__: LINE }, { __value__: { __value__: 3 } }
  ]
  for (const given of broken) {
    const read = readCurve(given)
    assert.ok(read.fault, JSON.stringify(given))
    assert.equal(read.curve, null)
    assert.equal(typeof read.value, "string")
    assert.ok(readCurve(read.value).fault, `it reads back as a curve: ${JSON.stringify(given)}`)
  }
})

test("text written is text read", () => {
  const schedule = { ...LINE, context: 0.3, axis: "steps" }
  assert.deepEqual(readCurve(writeCurve(schedule)).read, schedule)
})

test("a schedule that guards nothing is a fault", () => {
  const end = { points: [[0, 1], [0.5, 0], [1, 0]], interpolation: "linear" }
  assert.equal(scheduleFault({ ...end, context: 0.49 }), "")
  assert.match(scheduleFault({ ...end, context: 0.5 }), /from the context on/)
  assert.match(scheduleFault({ points: [[0, 0], [1, 0]], interpolation: "step", context: 0 }), /zero everywhere/)
})
