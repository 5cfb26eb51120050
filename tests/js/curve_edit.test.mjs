import assert from "node:assert/strict"
import test from "node:test"

import { heightOf } from "../../js/schedule/curve.js"
import { addPoint, deletePoint, GAP, movePoint } from "../../js/editor/curve_edit.js"
import { readCurve } from "../../js/schedule/curve_value.js"

const BELL = { points: [[0.2, 0.2], [0.6, 1], [1, 0.2]], interpolation: "monotone_cubic" }

test("a point goes where it belongs, on the curve unless a height is given", () => {
  assert.deepEqual(addPoint(BELL, 0.8, 0.5).curve.points, [[0.2, 0.2], [0.6, 1], [0.8, 0.5], [1, 0.2]])
  const { curve, index } = addPoint(BELL, 0.4)
  assert.equal(index, 1)
  assert.ok(Math.abs(curve.points[1][1] - heightOf(BELL)(0.4)) < 1e-4)
  assert.equal(addPoint(BELL, 0.1).index, 0)
})

test("no point is added where one is", () => {
  assert.equal(addPoint(BELL, 0.6), null)
  assert.equal(addPoint(BELL, 0.6 + GAP / 2), null)
})

test("a point stops at its neighbours and at the edges", () => {
  assert.deepEqual(movePoint(BELL, 1, 0.05, 2).points[1], [0.2 + GAP, 1])
  assert.deepEqual(movePoint(BELL, 1, 3, -1).points[1], [1 - GAP, 0])
  assert.deepEqual(movePoint(BELL, 0, -1, 0.5).points[0], [0, 0.5])
  assert.deepEqual(movePoint(BELL, 2, 9, 0.5).points[2], [1, 0.5])
})

test("a point without room between its neighbours moves in height only", () => {
  const tight = { points: [[0.5, 0], [0.5004, 1], [0.5008, 0]], interpolation: "linear" }
  assert.deepEqual(movePoint(tight, 1, 0.9, 0.3).points[1], [0.5004, 0.3])
})

test("two points stay", () => {
  const two = deletePoint(BELL, 1)
  assert.deepEqual(two.points, [[0.2, 0.2], [1, 0.2]])
  assert.equal(deletePoint(two, 0), null)
})

test("whatever the edits, the curve can be read and the one before is untouched", () => {
  let seed = 7
  const draw = () => (seed = (seed * 16807) % 2147483647) / 2147483647
  let curve = BELL
  for (let n = 0; n < 2000; n++) {
    const before = JSON.stringify(curve)
    const index = Math.floor(draw() * curve.points.length)
    const kind = draw()
    let next = movePoint(curve, index, draw() * 1.4 - 0.2, draw() * 1.4 - 0.2)
    if (kind < 0.2) next = addPoint(curve, draw())?.curve ?? curve
    if (kind > 0.8) next = deletePoint(curve, index) ?? curve
    assert.equal(JSON.stringify(curve), before)
    assert.equal(readCurve(next).fault, "", JSON.stringify(next))
    assert.deepEqual(readCurve(next).curve, next, "out of order")
    curve = next
  }
})
