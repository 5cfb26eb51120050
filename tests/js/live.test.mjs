import assert from "node:assert/strict"
import { test } from "node:test"
import { readCalls } from "../../js/feedback/live.js"

const base = { node: "12:5", level: 0.5, context: 0.2, calls: [[0, 0], [0.5, 0.7]] }

test("a message of a run that goes on", () => {
  const calls = [{ progress: 0, weight: 0 }, { progress: 0.5, weight: 0.7 }]
  assert.deepEqual(readCalls(base), { node: "12:5", level: 0.5, context: 0.2, calls })
  assert.deepEqual(readCalls({ ...base, context: null, more: 1 }), { node: "12:5", level: 0.5, context: null, calls })
})

test("what is no such message is none", () => {
  for (const odd of [undefined, null, "x", 7, [], {}]) assert.equal(readCalls(odd), null, String(odd))
  for (const more of [
    { node: 12 }, { level: null }, { level: 1.1 }, { context: -0.1 }, { context: "a" }, { calls: [] }, { calls: {} }, { calls: [null] },
    { calls: [[0.5]] }, { calls: [[0.5, NaN]] }, { calls: [[0.5, "1"]] }, { calls: [[0, 0], [2, 0]] }
  ]) assert.equal(readCalls({ ...base, ...more }), null, JSON.stringify(more))
})
