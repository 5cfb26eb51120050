// A run that goes on: strokes that fill a sampler's plot, from `safelight_calls` messages, till its result comes.
import assert from "node:assert/strict"
import { since, test } from "./harness.mjs"

const weights = Array.from({ length: 20 }, (_, i) => (i < 4 ? 0 : 0.75))
const report = (more) => JSON.stringify({
  format: 2, safety: 1, risk: 0.93, gate: 0.5, gate_open: true, context: 0.2, schedule: {}, merge: "every step", harmless: false,
  weights: weights.map((w, i) => ({ sigma: 14 - i, progress: i / 20, w })), moved: [0.12], replaced: 0, rows: 55, remembered_rows: 0,
  plain_rows: 40, notes: [], ...more
})
/** The message of a run after so many of its calls. */
const calls = (node, count, more) => ({
  node: String(node), level: 1, context: 0.2, calls: weights.slice(0, count).map((weight, i) => [i / 20, weight]), ...more
})
const sends = (studio, ...given) => studio.message("safelight_calls", calls(...given))

/** What a node's feedback shows, null where it shows none: the head, whether it is of a run that goes on, the strokes. */
const shown = (page, id) => page.evaluate((id) => {
  const view = window.studio.node(id).widgets.find(({ name }) => name === "safelight_feedback")?.element.querySelector(".safelight-feedback")
  if (!view) return null
  const seen = (selector) => [...view.querySelectorAll(selector)].filter((element) => element.offsetHeight)
  return {
    head: seen(".safelight-run-head")[0]?.textContent, live: view.hasAttribute("data-live"), stale: seen(".safelight-run-stale-line").length > 0,
    heights: seen(".safelight-run-stroke").map(({ style }) => style.height), settles: seen(".safelight-run-settles").map(({ style }) => style.width)
  }
}, id)
const height = (page, id) => page.evaluate((id) => window.studio.node(id).size[1], id)
const atRest = async (page, studio, id) => {
  await studio.element(id, "safelight_feedback")
  await studio.settle()
  return height(page, id)
}

// What a strip sends beside its report.
const picture = { filename: "frame.png", subfolder: "", type: "temp" }
const frames = JSON.stringify({ seed: 1, frames: [0, 1].map((safety) => ({ safety, pictures: [picture] })) })

for (const type of ["SafelightKSampler", "SafelightKSamplerAdvanced", "SafelightSamplerCustom", "SafelightStrip"]) {
  test(`${type}: strokes come while it samples, the result takes their place`, async ({ page, studio }) => {
    const id = await studio.add(type, { at: [320, 60] })
    await sends(studio, id, 1)
    await studio.element(id, "safelight_feedback")
    assert.deepEqual(await shown(page, id), { head: "Samplingfull · 1.00", live: true, stale: false, heights: ["0%"], settles: ["20%"] })
    await sends(studio, id, 6)
    assert.deepEqual((await shown(page, id)).heights, ["0%", "0%", "0%", "0%", "75%", "75%"])
    await studio.executed(id, { safelight_report: [report()], safelight_frames: [frames] })
    const { head, live, heights } = await shown(page, id)
    assert.deepEqual([head, live, heights.length], ["Steeredfull · 1.00", false, 20])
  })
}

test("a new level begins the plot anew", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  await sends(studio, id, 20, { level: 0 })
  await studio.element(id, "safelight_feedback")
  assert.deepEqual([(await shown(page, id)).head, (await shown(page, id)).heights.length], ["Samplingoff · 0.00", 20])
  await sends(studio, id, 5, { level: 0.5 })
  assert.deepEqual([(await shown(page, id)).head, (await shown(page, id)).heights.length], ["Samplingmedium · 0.50", 5])
})

const ENDS = [
  ["execution_interrupted", { prompt_id: "run", node_id: "1", node_type: "SafelightKSampler", executed: [] }],
  ["execution_success", { prompt_id: "run" }],
  ["executing", { node: null, prompt_id: "run" }]
]
for (const [type, data] of ENDS) {
  test(`a run that ends without a result (${type}) leaves what stood there before`, async ({ page, studio }) => {
    const id = await studio.add("SafelightKSampler")
    const before = await height(page, id)
    await sends(studio, id, 3)
    await studio.element(id, "safelight_feedback")
    await studio.message(type, data)
    assert.equal(await shown(page, id), null)
    assert.ok(Math.abs((await height(page, id)) - before) < 2, "the node is as high as before")

    await studio.executed(id, { safelight_report: [report()] })
    await studio.set(id, "safety", 0.3)
    await studio.commit()
    const rest = await atRest(page, studio, id)
    await sends(studio, id, 3, { level: 0.3 })
    assert.deepEqual(await shown(page, id), { head: "Samplinglow · 0.30", live: true, stale: false, heights: ["0%", "0%", "0%"], settles: ["20%"] })
    await studio.message(type, data)
    const { head, live, stale, heights } = await shown(page, id)
    assert.deepEqual([head, live, stale, heights.length], ["Steeredfull · 1.00", false, true, 20])
    assert.ok(Math.abs((await atRest(page, studio, id)) - rest) < 2)
  })
}

test("the node has its size from the first stroke on", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const sizes = []
  for (let run = 0; run < 2; run++) {
    for (const count of [1, 12, 20]) {
      await sends(studio, id, count)
      sizes.push(await atRest(page, studio, id))
    }
    await studio.executed(id, { safelight_report: [report()] })
    sizes.push(await atRest(page, studio, id))
  }
  assert.ok(Math.max(...sizes) - Math.min(...sizes) < 3, String(sizes))
})

test("the workflow knows nothing of it, and nothing is to be undone", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const [before, changes] = [await studio.save(), await studio.history()]
  await sends(studio, id, 5)
  await studio.element(id, "safelight_feedback")
  await studio.commit()
  assert.deepEqual((await studio.save()).nodes, before.nodes)
  assert.deepEqual(await studio.history(), changes)
})

test("a page that is opened meanwhile draws all calls, from the next message on", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  await sends(studio, id, 5)
  await studio.reopen() // makes the nodes anew
  assert.equal(await shown(page, id), null)
  await sends(studio, id, 6)
  await studio.element(id, "safelight_feedback")
  assert.equal((await shown(page, id)).heights.length, 6)
  await studio.executed(id, { safelight_report: [report()] })
  assert.equal((await shown(page, id)).live, false)
})

test("messages of nodes that are not there, or not ours, or that are none, draw nothing", async ({ page, studio }) => {
  const stock = await studio.add("KSampler", { at: [60, 160] })
  const id = await studio.add("SafelightKSampler", { at: [460, 160] })
  for (const node of [stock, 999, `${id}:1`]) await sends(studio, node, 5)
  for (const odd of [null, "x", {}, calls(id, 0), { ...calls(id, 3), level: 7 }]) await studio.message("safelight_calls", odd)
  assert.equal(await shown(page, id), null)
  assert.equal(await page.evaluate((id) => window.studio.node(id).widgets.some(({ name }) => name === "safelight_feedback"), stock), false)
})

test("where feedback is switched off none comes, and what stood there goes", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  await sends(studio, id, 5)
  try {
    await studio.setting("Safelight.Feedback.Show", false)
    assert.equal(await shown(page, id), null)
    await sends(studio, id, 6)
    assert.equal(await shown(page, id), null)
  } finally {
    await studio.setting("Safelight.Feedback.Show", true)
  }
  await sends(studio, id, 7)
  await studio.element(id, "safelight_feedback")
  assert.equal((await shown(page, id)).heights.length, 7)
})

test("in a subgraph", { skip: !since("1.27.10") }, async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const path = await page.evaluate((id) => {
    const { graph, app } = window.studio
    const node = window.studio.node(id)
    app.canvas.selectItems?.([node])
    const { node: made } = graph.convertToSubgraph(new Set([node]))
    return [made.id, made.subgraph.nodes[0].id].join(":")
  }, id)
  await sends(studio, path, 5)
  const strokes = () => page.evaluate(([outer]) => window.studio.app.graph.getNodeById(outer).subgraph.nodes[0].widgets
    .find(({ name }) => name === "safelight_feedback")?.element.querySelectorAll("[data-live] .safelight-run-stroke").length, path.split(":"))
  assert.equal(await strokes(), 5)
})

test("Easy keeps the picture of the last run till the next one comes", async ({ page, studio }) => {
  await page.route(/\/view\?/, (route) => route.fulfill({
    contentType: "image/svg+xml", body: '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="green"/></svg>'
  }))
  const id = await studio.add("SafelightEasy", { at: [320, 60] })
  await sends(studio, id, 3)
  await studio.element(id, "safelight_feedback")
  assert.equal((await shown(page, id)).heights.length, 3)
  const after = [{ filename: "after.png", subfolder: "", type: "temp" }]
  const verdict = JSON.stringify({ risk: 0.95, method: "rewrite", words: ["knife"], notes: [], safe_prompt: "a spoon", changes: ["spoon"] })
  await studio.executed(id, { images: after, safelight_pictures: [JSON.stringify({ after })], safelight_report: [report()], safelight_verdict: [verdict] })
  const picture = () => page.evaluate((id) => window.studio.widget(id, "safelight_feedback").element.querySelector(".safelight-wipe").offsetHeight > 20, id)
  assert.deepEqual([(await shown(page, id)).head, await picture()], ["Steeredfull · 1.00", true])
  await sends(studio, id, 4)
  const { head, heights } = await shown(page, id)
  assert.deepEqual([head, heights.length, await picture()], ["Samplingfull · 1.00", 4, true])
  await studio.message("execution_success", { prompt_id: "run" })
  assert.deepEqual([(await shown(page, id)).head, await picture()], ["Steeredfull · 1.00", true])
})
