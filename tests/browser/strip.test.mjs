// The strip's frames on its node, and what a click does to the sliders; before and after on the map's node.
import assert from "node:assert/strict"
import { test, since } from "./harness.mjs"

const LEVELS = [0, 0.5, 1]
const file = (name) => ({ filename: `${name}.png`, subfolder: "", type: "temp" })
const calls = Array.from({ length: 20 }, (_, i) => ({ sigma: 14 - i, progress: i / 20, w: i < 4 ? 0 : 1 }))
const report = JSON.stringify({
  format: 2, safety: 1, risk: 0.95, gate: 0.5, gate_open: true, context: 0.2, schedule: {}, merge: "every step", weights: calls,
  moved: [0.1], replaced: 0, harmless: false, rows: 40, remembered_rows: 0, plain_rows: 40, notes: [], levels: LEVELS, frames: []
})
const strip = (more = () => ({}), count = 1, seed = 77) => ({
  safelight_frames: [JSON.stringify({
    seed, frames: LEVELS.map((safety) => ({ safety, pictures: Array.from({ length: count }, (_, i) => file(`at${safety}_${i}`)), ...more(safety) }))
  })],
  safelight_report: [report]
})
/** Pictures of several colours, since the tests' server has none. */
const paint = (page) => page.route(/\/view\?/, (route) => {
  const colour = /at0_|before/.test(route.request().url()) ? "firebrick" : /map/.test(route.request().url()) ? "black" : "seagreen"
  const body = `<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="${colour}"/></svg>`
  return route.fulfill({ contentType: "image/svg+xml", body })
})

/** A strip and what it stands on; its frames are shown. */
async function withStrip(page, studio, message = strip()) {
  await paint(page)
  const words = await studio.add("SafelightContextEncode", { at: [20, 100], values: { prompt: "a cat and a knife" } })
  const negative = await studio.add("CLIPTextEncode", { at: [20, 600] })
  const id = await studio.add("SafelightStrip", { at: [440, 60], values: { steps: 12, cfg: 3.5 } })
  for (const name of ["positive", "safe"]) await studio.connect(words, name, id, name)
  await studio.connect(negative, 0, id, "negative")
  await studio.executed(id, message)
  await studio.view({ scale: 0.6, x: 60, y: 60 })
  const element = await studio.element(id, "safelight_feedback")
  return { id, words, negative, element }
}

async function sampler(studio, words, at = [960, 60], type = "SafelightKSampler") {
  const id = await studio.add(type, { at })
  for (const name of ["positive", "safe"]) await studio.connect(words, name, id, name)
  return id
}

const frame = async (element, name) => {
  for (const button of await element.$$(".safelight-frames-frame")) {
    if ((await button.getAttribute("aria-label")).startsWith(name)) return button
  }
  throw new Error(`no frame ${name}`)
}
const names = (element) => element.$$eval(".safelight-frames-frame", (all) => all.map((each) => each.getAttribute("aria-label")))
const status = async (element) => (await element.$(".safelight-frames [role=status]")).textContent()
const shown = (element) => element.evaluate((root) =>
  [...root.querySelectorAll(".safelight-wipe-frame img")].filter((img) => img.offsetWidth).map((img) => new URL(img.src).searchParams.get("filename")))

test("a click on a frame moves the slider, shows the frame over the plain one, and is undone at once", async ({ page, studio }) => {
  const { id, words, element } = await withStrip(page, studio)
  const to = await sampler(studio, words)
  await studio.until((id) => window.studio.widget(id, "safelight_feedback").element.querySelector("[data-here]"), id)
  assert.deepEqual(await names(element), ["safety 0", "safety 0.50", "safety 1.00, the slider's place"])
  assert.deepEqual(await shown(element), [], "the wipe comes with the choice")
  const { undo } = await studio.history()
  await (await frame(element, "safety 0.50")).click()
  assert.equal(await studio.get(to, "safety"), 0.5)
  assert.equal(await page.evaluate((id) => window.studio.widget(id, "safety").label.trim().replace(/\u200a+$/, ""), to), "safety · medium")
  assert.equal(await status(element), "safety of Safelight KSampler set to 0.50")
  assert.deepEqual(await shown(element), ["at0.5_0.png", "at0_0.png"])
  assert.deepEqual(await names(element), ["safety 0", "safety 0.50, the slider's place", "safety 1.00"])
  assert.equal(await (await frame(element, "safety 0.50")).getAttribute("aria-pressed"), "true")
  await studio.commit()
  assert.equal((await studio.history()).undo, undo + 1)
  await studio.undo()
  await studio.until((id) => window.studio.widget(id, "safety").value === 1, to)
})

test("by keys, and the plain frame has nothing to be compared with", async ({ page, studio }) => {
  const { words, element } = await withStrip(page, studio)
  const to = await sampler(studio, words)
  const plain = await frame(element, "safety 0")
  await plain.focus()
  await page.keyboard.press("Enter")
  assert.equal(await studio.get(to, "safety"), 0)
  assert.deepEqual(await shown(element), ["at0_0.png"])
  assert.ok(await plain.evaluate((button) => button === document.activeElement), "the focus stays")
})

test("every node with the strip's prompts follows, through reroutes; one of other prompts stays", async ({ page, studio }) => {
  const { words, element } = await withStrip(page, studio)
  const patch = await studio.add("SafelightModelPatch", { at: [960, 60] })
  const reroute = await studio.add("Reroute", { at: [800, 700] })
  await studio.connect(words, "safe", reroute, 0)
  await studio.connect(reroute, 0, patch, "safe")
  const guider = await sampler(studio, words, [960, 400], "SafelightGuider")
  const others = await studio.add("SafelightContextEncode", { at: [20, 800] })
  const other = await sampler(studio, others, [1400, 60])
  await (await frame(element, "safety 0.50")).click()
  const values = []
  for (const id of [patch, guider, other]) values.push(await studio.get(id, "safety"))
  assert.deepEqual(values, [0.5, 0.5, 1])
  assert.equal(await status(element), "safety of Safelight Model Patch, Safelight Guider set to 0.50")
})

test("a linked safety is left alone, and said to be so", async ({ page, studio }) => {
  const { words, element } = await withStrip(page, studio)
  const to = await sampler(studio, words)
  await studio.connect(words, "risk", to, "safety")
  await (await frame(element, "safety 0.50")).click()
  assert.equal(await studio.get(to, "safety"), 1)
  assert.equal(await status(element), "safety of Safelight KSampler comes from a link, and stays")
})

test("where no sampler has the strip's prompts, one is made as the strip is", async ({ page, studio }) => {
  const { words, negative, element } = await withStrip(page, studio)
  const before = (await studio.save()).nodes.length
  await (await frame(element, "safety 0.50")).click()
  assert.equal(await status(element), "No Safelight sampler here has the strip's prompts.")
  assert.equal((await studio.save()).nodes.length, before, "not without being asked")
  await studio.commit()
  const { undo } = await studio.history()
  await (await element.$("text=Add Safelight KSampler at 0.50")).click()
  await studio.commit()
  assert.equal((await studio.history()).undo, undo + 1)
  const saved = await studio.save()
  const made = saved.nodes.find(({ type }) => type === "SafelightKSampler")
  const { safety, seed, steps, cfg } = await studio.values(made.id)
  assert.deepEqual({ safety, seed, steps, cfg }, { safety: 0.5, seed: 77, steps: 12, cfg: 3.5 })
  const from = Object.fromEntries(made.inputs.filter(({ link }) => link != null)
    .map(({ name, link }) => [name, saved.links.find((each) => each[0] === link)[1]]).map(([name, id]) => [name, String(id)]))
  assert.deepEqual(from, { positive: String(words), safe: String(words), negative: String(negative) })
  const place = saved.nodes.find(({ type }) => type === "SafelightStrip")
  assert.ok(made.pos[0] >= place.pos[0] + place.size[0], "beside the strip")
  assert.equal(await status(element), "Safelight KSampler added at 0.50")
  await (await frame(element, "safety 1.00")).click()
  assert.equal(await studio.get(made.id, "safety"), 1, "from then on it follows")
})

test("what a detector found and the level that is enough are marked", async ({ page, studio }) => {
  const more = (safety) => ({ found: [safety ? "" : "<b>knife</b>"], enough: [safety === 0.5] })
  const { element } = await withStrip(page, studio, strip(more))
  assert.deepEqual(await names(element), ["safety 0, <b>knife</b>", "safety 0.50, nothing found, enough", "safety 1.00, nothing found"])
  const texts = await element.$$eval(".safelight-frames-frame", (all) => all.map((each) => each.innerText.replace(/\s+/g, " ")))
  assert.deepEqual(texts, ["0 <b>knife</b>", "0.50 enough", "1.00"])
})

test("a batch has a row for each picture, and the wipe follows the one that is clicked", async ({ page, studio }) => {
  const { element } = await withStrip(page, studio, strip(undefined, 2))
  assert.deepEqual((await names(element)).slice(2, 4), ["safety 1.00, picture 1", "safety 0, picture 2"])
  await (await frame(element, "safety 0.50, picture 2")).click()
  assert.deepEqual(await shown(element), ["at0.5_1.png", "at0_1.png"])
  await (await element.$('[aria-label="Next picture"]')).click()
  assert.equal(await (await frame(element, "safety 0.50, picture 1")).getAttribute("aria-pressed"), "true")
})

test("nothing of the frames is saved", async ({ page, studio }) => {
  await withStrip(page, studio)
  assert.ok(!JSON.stringify(await studio.save()).includes("at0.5"))
})

test("in a subgraph the sliders of the same prompts are found outside", { skip: !since("1.49.6") }, async ({ page, studio }) => {
  const { id, words } = await withStrip(page, studio)
  const to = await sampler(studio, words)
  const host = await page.evaluate((id) => {
    const { graph } = window.studio
    const { node } = graph.convertToSubgraph(new Set([window.studio.node(id)]))
    return [node.id, node.subgraph.nodes[0].id]
  }, id)
  const message = { node: host.join(":"), display_node: host.join(":"), prompt_id: "run", output: strip() }
  await studio.message("executed", message)
  await page.evaluate(([outer]) => {
    const inner = window.studio.app.graph.getNodeById(outer).subgraph.nodes[0]
    inner.widgets.find(({ name }) => name === "safelight_feedback").element.querySelectorAll(".safelight-frames-frame")[1].click()
  }, host)
  assert.equal(await studio.get(to, "safety"), 0.5)
})

async function mapped(page, studio, pictures, note = "") {
  await paint(page)
  const id = await studio.add("SafelightMap", { at: [320, 80] })
  await studio.executed(id, { images: [file("sheet")], safelight_pictures: [JSON.stringify(pictures)], safelight_note: [note] })
  await studio.view({ scale: 0.8, x: 100, y: 40 })
  return { id, element: await studio.element(id, "safelight_feedback") }
}
const batch = (name) => [file(`${name}0`)]

test("a map with a plain picture shows before and after, and the map over them", async ({ page, studio }) => {
  const { id, element } = await mapped(page, studio, { after: batch("after"), before: batch("before"), map: batch("map"), when: batch("when") }, "an <b>estimate</b>.")
  assert.deepEqual(await shown(element), ["after0.png", "before0.png"])
  assert.ok(await (await element.$(".safelight-wipe-when")).isVisible())
  const handle = await element.$('[role="slider"]')
  await handle.focus()
  await page.keyboard.press("Home")
  assert.equal(await handle.getAttribute("aria-valuenow"), "0")
  await (await element.$(".safelight-wipe-toggle")).click()
  assert.deepEqual(await shown(element), ["after0.png", "before0.png", "map0.png"])
  assert.ok((await element.textContent()).includes("an <b>estimate</b>."))
  const twice = await page.evaluate((id) => {
    const drawn = window.studio.node(id).widgets.some(({ name }) => name === "$$canvas-image-preview")
    return drawn || [...document.querySelectorAll(`[data-node-id="${id}"] img`)].some((img) => !img.closest(".safelight-wipe"))
  }, id)
  assert.equal(twice, false, "the page does not show them again")
  await studio.commit()
  assert.equal(await (await element.$(".safelight-run-stale-line")).isVisible(), false, "it is of the present settings")
})

test("a map without one shows the map, and the picture under it", async ({ page, studio }) => {
  const { element } = await mapped(page, studio, { after: batch("after"), map: batch("map"), when: batch("when") })
  assert.deepEqual(await shown(element), ["after0.png", "map0.png"])
  await (await element.$(".safelight-wipe-toggle")).click()
  assert.deepEqual(await shown(element), ["after0.png"])
})
