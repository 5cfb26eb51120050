// Inputs that do nothing look so, and act again as soon as they do something.
import assert from "node:assert/strict"
import { MODE, test } from "./harness.mjs"

/** The inputs of a node that the page lets nobody change, as it shows them. */
const greyed = async (page, studio, id) => {
  await studio.settle()
  return page.evaluate(([id, nodes2]) => {
    const node = window.studio.node(id)
    const rows = document.querySelectorAll(`[data-node-id="${id}"] .lg-node-widget [node-id]`)
    const dimmed = (row) => Number(getComputedStyle(row).opacity) < 1 || row.querySelector('[role="combobox"]:disabled')
    const names = [...rows].filter(dimmed)
      .map((row) => row.querySelector('[data-testid="widget-layout-field-label"], label').textContent)
    return nodes2 ? names : node.widgets.filter(({ computedDisabled }) => computedDisabled).map(({ name }) => name)
  }, [id, MODE === "nodes2"])
}
const unfold = (page, id) => page.evaluate((id) => {
  window.studio.node(id).showAdvanced = true
}, id)
/** Every widget of ours as it is saved and sent. */
const values = async (studio) => [(await studio.save()).nodes.map((node) => node.widgets_values), await studio.prompt()]

test("an input that does nothing is greyed out till a choice or a link makes it act", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler", { at: [520, 60] })
  await unfold(page, id)
  const before = await values(studio)
  assert.deepEqual(await greyed(page, studio, id), ["gate", "merge_at", "at_least", "hide"])
  await studio.set(id, "merge", "separate")
  assert.deepEqual(await greyed(page, studio, id), ["gate", "at_least", "hide"])
  await studio.set(id, "merge", "values")
  assert.deepEqual(await greyed(page, studio, id), ["gate", "merge_at", "economy", "at_least", "hide"])
  await studio.set(id, "merge", "every step")
  const detector = await studio.add("SafelightDemoDetector", { at: [80, 60] })
  await studio.connect(detector, "detector", id, "detector")
  assert.deepEqual(await greyed(page, studio, id), ["gate", "merge_at", "economy"])
  const reader = await studio.add("SafelightPrompt", { at: [80, 260] })
  await studio.connect(reader, "risk", id, "risk")
  assert.deepEqual(await greyed(page, studio, id), ["merge_at", "economy"])
  await studio.reopen()
  await unfold(page, id)
  assert.deepEqual(await greyed(page, studio, id), ["merge_at", "economy"], "after saving and opening")
  await studio.disconnect(id, "detector")
  await studio.disconnect(id, "risk")
  assert.deepEqual(await greyed(page, studio, id), ["gate", "merge_at", "at_least", "hide"])
  await page.evaluate((ids) => ids.forEach((id) => window.studio.graph.remove(window.studio.node(id))), [detector, reader])
  assert.deepEqual(await values(studio), before, "no value has changed")
})

test("economy that is refused can still be switched off", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler", { values: { merge: "values", economy: "free" } })
  await unfold(page, id)
  assert.ok(!(await greyed(page, studio, id)).includes("economy"))
  await studio.set(id, "economy", "off")
  assert.ok((await greyed(page, studio, id)).includes("economy"))
})

const CHOICES = [
  ["SafelightSelective", { mode: "soft threshold" }, ["quantile"]],
  ["SafelightSelective", { mode: "quantile" }, ["threshold"]],
  ["SafelightContextEncode", { method: "auto" }, ["strength"]],
  ["SafelightContextEncode", { method: "project" }, ["stand_ins"]],
  ["SafelightRedact", { form: "ridge" }, ["steps"]],
  ["SafelightRedact", { form: "network" }, []],
  ["SafelightDetectors", { way: "at least n" }, []],
  ["SafelightEasy", {}, ["denoise", "hide"]]
]
for (const [type, chosen, idle] of CHOICES) {
  test(`${type}, ${Object.values(chosen)[0] ?? "with nothing linked"}: what does nothing is greyed out`, async ({ page, studio }) => {
    const id = await studio.add(type, { values: chosen })
    await unfold(page, id)
    assert.deepEqual(await greyed(page, studio, id), idle)
  })
}

test("a choice that comes over a link is followed", async ({ page, studio }) => {
  const id = await studio.add("SafelightSelective", { at: [520, 60], values: { mode: "quantile" } })
  const given = await studio.add("PrimitiveNode", { at: [80, 60] })
  await studio.connect(given, 0, id, "mode")
  const own = async () => (await greyed(page, studio, id)).filter((name) => name !== "mode")
  for (const [value, idle] of [["soft threshold", "quantile"], ["quantile", "threshold"]]) {
    await page.evaluate(([id, value]) => {
      window.studio.node(id).widgets[0].value = value
    }, [given, value])
    await studio.commit()
    assert.deepEqual(await own(), [idle])
  }
})

test("a vector takes the place of rewriting, and a typed safe prompt the place of both", async ({ page, studio }) => {
  const id = await studio.add("SafelightContextEncode", { at: [520, 60] })
  const vector = await studio.add("SafelightLoadConceptVector", { at: [80, 60] })
  await unfold(page, id)
  await studio.connect(vector, 0, id, "vector")
  assert.deepEqual(await greyed(page, studio, id), ["stand_ins"])
  await studio.set(id, "safe_prompt", "a cat with a spoon")
  assert.deepEqual(await greyed(page, studio, id), ["strength"])
})

test("undo of a choice brings back what it greyed out", async ({ page, studio }) => {
  const id = await studio.add("SafelightSelective")
  await studio.set(id, "mode", "quantile")
  await studio.commit()
  assert.deepEqual(await greyed(page, studio, id), ["threshold"])
  await studio.undo()
  assert.deepEqual(await greyed(page, studio, id), ["quantile"])
})
