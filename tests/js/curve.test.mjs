import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"

import { heightOf, outline, stepWeights } from "../../js/schedule/curve.js"

const table = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"))
const near = (got, expected, what) => assert.ok(Math.abs(got - expected) <= 1e-6, `${got} is not ${expected}: ${what}`)

test("the curve's height agrees with the shared vectors", () => {
  const cases = table("curves")
  assert.ok(cases.length >= 200)
  for (const entry of cases) {
    const height = heightOf(entry)
    for (const [p, y] of entry.samples) near(height(p), y, JSON.stringify([entry.points, entry.interpolation, p]))
  }
})

test("the weight of every step, the guard counted in, agrees with the shared vectors", () => {
  const cases = table("weights")
  assert.ok(cases.length >= 200)
  for (const entry of cases) {
    const schedule = { ...entry, startShift: entry.start_shift }
    const { weights, context, fault } = stepWeights(schedule, entry.safety, entry.starts, entry.starts.slice(0, entry.guarded))
    assert.equal(fault !== "", entry.weights === null, JSON.stringify(entry))
    if (fault) continue
    near(context, entry.used, JSON.stringify(entry))
    entry.weights.forEach((weight, i) => near(weights[i], weight, `step ${i + 1} of ${JSON.stringify(entry)}`))
  }
})

test("no rounding takes a height out of its range", () => {
  const low = heightOf({ points: [[0.09, 1], [0.21, 0], [0.79, 0.6558729489347994]], interpolation: "monotone_cubic" })
  const high = heightOf({ points: [[0.26, 0], [0.63, 1], [0.94, 0.2605302866978737]], interpolation: "monotone_cubic" })
  assert.equal(low(0.2099999997818368), 0)
  assert.equal(high(0.6299999999990743), 1)
})

test("the line that is drawn lies on the curve and keeps a step's jumps upright", () => {
  for (const entry of table("curves")) {
    const height = heightOf(entry)
    const line = outline(entry, 0.1, 0.9)
    assert.deepEqual([line[0][0], line.at(-1)[0]], [0.1, 0.9])
    line.forEach(([p, h], i) => {
      if (i) assert.ok(p >= line[i - 1][0])
      if (entry.interpolation === "step" && i) assert.ok(p === line[i - 1][0] || h === line[i - 1][1])
      else near(h, height(p), JSON.stringify(entry.points))
    })
  }
})
