import assert from "node:assert/strict"
import { test } from "node:test"
import { LEVELS, levelOf, placeOf } from "../../js/widgets/levels.js"

test("the words that the README gives the levels", () => {
  for (const [value, word] of [[0, "off"], [0.25, "low"], [0.5, "medium"], [0.75, "high"], [1, "full"]]) {
    assert.equal(levelOf(value), word)
  }
})

test("between them the nearest level, but off and full are exact", () => {
  for (const [value, word] of [
    [1e-9, "low"], [0.01, "low"], [0.374, "low"], [0.375, "medium"], [0.624, "medium"], [0.625, "high"], [0.99, "high"], [1 - 1e-9, "high"]
  ]) assert.equal(levelOf(value), word, String(value))
})

test("a stronger slider never has a weaker word", () => {
  const places = Array.from({ length: 101 }, (_, i) => LEVELS.indexOf(levelOf(i / 100)))
  assert.deepEqual(places, [...places].sort((a, b) => a - b))
  assert.deepEqual([...new Set(places)], [0, 1, 2, 3, 4])
})

test("what is no safety has no word", () => {
  for (const odd of [-0.1, 1.1, NaN, Infinity, "0.5", null, undefined, [0.5]]) assert.equal(levelOf(odd), "")
})

test("a level is written with all of its digits", () => {
  assert.deepEqual([0, 0.5, 0.125, 1].map(placeOf), ["0", "0.50", "0.125", "1.00"])
})
