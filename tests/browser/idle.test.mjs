// Inputs that do nothing look so, and act again as soon as they do something.
import assert from "node:assert/strict"
import { isDeepStrictEqual } from "node:util"
import { MODE, test } from "./harness.mjs"

const NODES2 = MODE === "nodes2"
const PATIENCE = 8000 // ms

/** In the page: the inputs of a node that it shows as what nobody can change, those aside that come over a link. */
function greyed([id, nodes2]) {
  const node = window.studio.node(id)
  const unlinked = (name) => node.inputs.every((input) => input.widget?.name !== name || input.link == null)
  if (!nodes2) return node.widgets.filter(({ computedDisabled }) => computedDisabled).map(({ name }) => name).filter(unlinked)
  const rows = [...document.querySelectorAll(`[data-node-id="${id}"] .lg-node-widget [node-id]`)]
  const dimmed = rows.filter((row) => Number(getComputedStyle(row).opacity) < 1 || row.querySelector('[role="combobox"]:disabled'))
  return dimmed.map((row) => row.querySelector('[data-testid="widget-layout-field-label"], label').textContent).filter(unlinked)
}
/** The page comes to grey out these inputs of a node, and no others. */
async function greysOut(page, id, expected, message) {
  let shown
  for (const end = Date.now() + PATIENCE; Date.now() < end && !isDeepStrictEqual(shown, expected); ) {
    shown = await page.evaluate(greyed, [id, NODES2])
  }
  assert.deepEqual(shown, expected, message)
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
  await greysOut(page, id, ["gate", "merge_at", "at_least", "hide"])
  await studio.set(id, "merge", "separate")
  await greysOut(page, id, ["gate", "at_least", "hide"])
  await studio.set(id, "merge", "values")
  await greysOut(page, id, ["gate", "merge_at", "economy", "at_least", "hide"])
  await studio.set(id, "merge", "every step")
  const detector = await studio.add("SafelightDemoDetector", { at: [80, 60] })
  await studio.connect(detector, "detector", id, "detector")
  await greysOut(page, id, ["gate", "merge_at", "economy"])
  const reader = await studio.add("SafelightPrompt", { at: [80, 260] })
  await studio.connect(reader, "risk", id, "risk")
  await greysOut(page, id, ["merge_at", "economy"])
  await studio.reopen()
  await unfold(page, id)
  await greysOut(page, id, ["merge_at", "economy"], "after saving and opening")
  await studio.disconnect(id, "detector")
  await studio.disconnect(id, "risk")
  await greysOut(page, id, ["gate", "merge_at", "at_least", "hide"])
  await page.evaluate((ids) => ids.forEach((id) => window.studio.graph.remove(window.studio.node(id))), [detector, reader])
  assert.deepEqual(await values(studio), before, "no value has changed")
})

test("economy that is refused can still be switched off", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler", { values: { merge: "values", economy: "free" } })
  await unfold(page, id)
  await greysOut(page, id, ["gate", "merge_at", "at_least", "hide"])
  await studio.set(id, "economy", "off")
  await greysOut(page, id, ["gate", "merge_at", "economy", "at_least", "hide"])
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
    await greysOut(page, id, idle)
  })
}

test("a choice that comes over a link is followed", async ({ page, studio }) => {
  const id = await studio.add("SafelightSelective", { at: [520, 60], values: { mode: "quantile" } })
  const given = await studio.add("PrimitiveNode", { at: [80, 60] })
  await studio.connect(given, 0, id, "mode")
  for (const [value, idle] of [["soft threshold", "quantile"], ["quantile", "threshold"]]) {
    await page.evaluate(([id, value]) => {
      window.studio.node(id).widgets[0].value = value
    }, [given, value])
    await studio.commit()
    await greysOut(page, id, [idle])
  }
})

test("a vector takes the place of rewriting, and a typed safe prompt the place of both", async ({ page, studio }) => {
  const id = await studio.add("SafelightContextEncode", { at: [520, 60] })
  const vector = await studio.add("SafelightLoadConceptVector", { at: [80, 60] })
  await unfold(page, id)
  await studio.connect(vector, 0, id, "vector")
  await greysOut(page, id, ["stand_ins"])
  await studio.set(id, "safe_prompt", "a cat with a spoon")
  await greysOut(page, id, ["strength"])
})

test("undo of a choice brings back what it greyed out", async ({ page, studio }) => {
  const id = await studio.add("SafelightSelective")
  await studio.set(id, "mode", "quantile")
  await studio.commit()
  await greysOut(page, id, ["threshold"])
  await studio.undo()
  await greysOut(page, id, ["quantile"])
})
