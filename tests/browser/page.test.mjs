// The page with our files in it: every node comes up, a graph survives saving, a prompt has what Python needs.
import assert from "node:assert/strict"
import { test } from "./harness.mjs"
import { OURS } from "./studio.mjs"

test("every node of ours comes up, and its values survive saving and opening", async ({ studio }) => {
  const ids = {}
  for (const [i, type] of OURS.entries()) ids[type] = await studio.add(type, { at: [80 + 420 * (i % 3), 60 + 20 * i] })
  const before = {}
  for (const [type, id] of Object.entries(ids)) before[type] = await studio.values(id)
  await studio.reopen()
  for (const [type, id] of Object.entries(ids)) assert.deepEqual(await studio.values(id), before[type], type)
})

test("undo and redo", async ({ studio }) => {
  const id = await studio.add("SafelightWeightSchedule")
  await studio.set(id, "context", 0.6)
  await studio.commit()
  assert.deepEqual(await studio.history(), { undo: 2, redo: 0 })
  await studio.undo()
  assert.equal(await studio.get(id, "context"), 0.2)
  await studio.redo()
  assert.equal(await studio.get(id, "context"), 0.6)
})

test("prompt", async ({ studio }) => {
  const id = await studio.add("SafelightWeightSchedule")
  const prompt = await studio.prompt()
  assert.deepEqual(prompt[id].inputs.curve, { points: [[0, 1], [1, 1]], interpolation: "linear" })
  const element = await studio.element(id, "curve")
  assert.ok((await element.boundingBox()).width > 100)
})

test("message", async ({ studio, page }) => {
  await page.evaluate(() => window.comfyAPI.api.api.addEventListener("executed", (e) => (window.got = e.detail)))
  await studio.executed(5, { safelight_report: ["{}"] })
  await studio.until(() => window.got?.node === "5")
})
