// What the artist sees of a run, and of the slider: words, reports and verdicts from `executed` messages.
import assert from "node:assert/strict"
import { test, MODE, since } from "./harness.mjs"

const PROMPT = "a cat and a Knife, knives <img src=x onerror=alert(1)> (knife:1.3)"
const steps = (count, weight) =>
  Array.from({ length: count }, (_, i) => ({ sigma: 14 - i, progress: i / count, w: i / count < 0.2 ? 0 : weight }))

function report(more = {}) {
  return JSON.stringify({
    format: 2, safety: 0.75, risk: 0.93, gate: 0.5, gate_open: true, context: 0.2, schedule: {}, merge: "every step",
    weights: steps(20, 0.75), moved: [0.12], replaced: 0, harmless: false, rows: 55, remembered_rows: 0, plain_rows: 40, notes: [], ...more
  })
}
const verdict = (more = {}) => JSON.stringify({ risk: 0.93, method: "project", words: ["knife"], notes: [], ...more })

/** The text of a node's feedback, null where it shows none. */
const feedback = (page, id) => page.evaluate((id) => {
  const widget = window.studio.node(id).widgets.find((entry) => entry.name === "safelight_feedback")
  const shown = widget?.element.querySelector(".safelight-feedback")
  return shown ? shown.textContent : null
}, id)
const part = (page, id, selector, key) => page.evaluate(([id, selector, key]) => {
  const { element } = window.studio.node(id).widgets.find((entry) => entry.name === "safelight_feedback")
  return [...element.querySelectorAll(selector)].map((found) => (key.startsWith("style.") ? found.style[key.slice(6)] : found[key]))
}, [id, selector, key])
const isStale = (page, id) => page.evaluate((id) => window.studio.node(id).widgets
  .find((entry) => entry.name === "safelight_feedback").element.querySelector("[data-stale]") !== null, id)
/** Of the slider, without the spaces that keep it in its place in Nodes 2.0. */
const label = (page, id) => page.evaluate((id) => window.studio.widget(id, "safety").label?.replace(/\u200a+$/, ""), id)

/** Tries a check until it passes: undo builds the nodes anew, which takes the page a moment. */
async function soon(check) {
  for (const end = Date.now() + 15_000; ; await new Promise((done) => setTimeout(done, 100))) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > end) throw error
    }
  }
}

for (const type of ["SafelightKSampler", "SafelightKSamplerAdvanced", "SafelightGuider", "SafelightModelPatch"]) {
  test(`${type}: the slider's word follows it, and is saved nowhere`, async ({ page, studio }) => {
    const id = await studio.add(type)
    assert.equal(await label(page, id), "safety · full")
    const before = await studio.save()
    for (const [value, word] of [[0, "off"], [0.01, "low"], [0.5, "medium"], [0.8, "high"], [1, "full"]]) {
      await studio.set(id, "safety", value)
      assert.equal(await label(page, id), `safety · ${word}`)
    }
    assert.deepEqual((await studio.save()).nodes, before.nodes)
    assert.ok(!JSON.stringify(before).includes("full"), "no word in the workflow")
    assert.equal((await studio.prompt())[id]?.inputs.safety ?? 1, 1)
    await studio.set(id, "safety", 0.5)
    await studio.reopen()
    assert.equal(await label(page, id), "safety · medium")
  })
}

test("the word follows a drag over the slider", async ({ page, studio }) => {
  const id = await studio.add("SafelightModelPatch")
  const kind = await page.evaluate((id) => window.studio.widget(id, "safety").type, id)
  assert.equal(kind, since("1.49.6") ? "gradientslider" : "slider") // and not the number box of a page that knows no gradients
  const place = MODE === "nodes2"
    ? await (await page.waitForSelector('[role="slider"]')).evaluate((thumb) => {
      const { left, top, width, height } = (thumb.closest("[data-slider-impl],.relative") ?? thumb.parentElement).getBoundingClientRect()
      return [left, top + height / 2, width]
    })
    : await page.evaluate((id) => {
      const widget = window.studio.widget(id, "safety")
      const { app } = window.studio
      const [x, y] = widget.node?.pos ?? window.studio.node(id).pos
      const at = app.canvas.ds.convertOffsetToCanvas([x + 15, y + widget.last_y + 10])
      const box = app.canvas.canvas.getBoundingClientRect()
      return [box.left + at[0], box.top + at[1], window.studio.node(id).size[0] - 30]
    }, id)
  const [left, y, width] = place
  const { undo } = await studio.history()
  await page.mouse.move(left + width * 0.9, y)
  await page.mouse.down()
  for (const part of [0.8, 0.6, 0.3]) await page.mouse.move(left + width * part, y, { steps: 4 })
  await page.mouse.up()
  await studio.settle()
  const value = await studio.get(id, "safety")
  assert.ok(value > 0 && value < 0.375, `the slider moved: ${value}`)
  assert.equal(await label(page, id), "safety · low")
  if (MODE === "nodes2") assert.ok(await page.getByText("safety · low").count(), "and shows it")
  await soon(async () => assert.equal((await studio.history()).undo, undo + 1, "one step of undo"))
  await studio.undo()
  await soon(async () => assert.deepEqual([await studio.get(id, "safety"), await label(page, id)], [1, "safety · full"]))
})

test("the slider stays where it is, whatever its word", { skip: MODE !== "nodes2" && "the classic canvas has labels inside" }, async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const lefts = []
  for (const value of [0, 0.2, 0.5, 0.8, 1]) {
    await studio.set(id, "safety", value)
    lefts.push((await page.locator('[role="slider"]').first().locator("xpath=..").boundingBox()).x)
  }
  assert.ok(Math.max(...lefts) - Math.min(...lefts) < 1.5, lefts.join(" "))
})

test("a result is stale as soon as the slider has been dragged", { skip: MODE !== "nodes2" && "the classic canvas tells of it" }, async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  await studio.executed(id, { safelight_report: [report({ safety: 1 })] })
  assert.equal(await isStale(page, id), false)
  const thumb = page.locator('[role="slider"]').first()
  await thumb.focus()
  await page.keyboard.press("ArrowLeft")
  await soon(async () => assert.ok((await studio.get(id, "safety")) < 1))
  await soon(async () => assert.equal(await isStale(page, id), true))
})

test("what the server remembers from an earlier run with these settings is shown again", async ({ page, studio }) => {
  const id = await studio.add("SafelightContextEncode", { values: { prompt: "a cat and a knife" } })
  const entry = async (text) => ({
    prompt: [0, "x", {}, { extra_pnginfo: { workflow: await studio.save() } }],
    outputs: { [id]: { safelight_verdict: [verdict({ notes: [text] })] } }
  })
  const same = await entry("with these settings")
  await studio.set(id, "prompt", "another prompt")
  const history = { first: same, second: await entry("with others") }
  await studio.set(id, "prompt", "a cat and a knife")
  await page.route(/\/history$/, (route) => route.fulfill({ json: history }))
  await studio.message("execution_cached", { nodes: [String(id)], prompt_id: "run" })
  await soon(async () => assert.ok((await feedback(page, id))?.includes("with these settings")))
  assert.equal(await isStale(page, id), false)
  await page.unroute(/\/history$/)
})

test("a linked safety has no word, and a name of the artist's own stays", async ({ page, studio }) => {
  const id = await studio.add("SafelightModelPatch", { at: [500, 200] })
  const encode = await studio.add("SafelightContextEncode", { at: [60, 200] })
  await studio.connect(encode, "risk", id, "safety")
  assert.equal((await label(page, id)) ?? "safety", "safety")
  await studio.disconnect(id, "safety")
  assert.equal(await label(page, id), "safety · full")
  await page.evaluate((id) => {
    const node = window.studio.node(id)
    const widget = window.studio.widget(id, "safety")
    // As the page's window for renaming does where its offer is taken as it is, and then with another name.
    node.inputs.find((input) => input.widget?.name === "safety").label = widget.label = "dose · full"
    widget.callback(widget.value)
  }, id)
  await studio.set(id, "safety", 0.25)
  assert.equal(await label(page, id), "dose · low")
  const saved = await studio.reopen()
  assert.equal(saved.nodes.find((node) => String(node.id) === String(id)).inputs.find((input) => input.name === "safety").label, "dose")
  assert.equal(await label(page, id), "dose · low")
})

test("a sampler shows what its run did, and the workflow knows nothing of it", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler", { values: { safety: 0.75 } })
  const [before, changes] = [await studio.save(), await studio.history()]
  assert.equal(await feedback(page, id), null)
  await studio.executed(id, { safelight_report: [report({ notes: ["context was lowered to 0.1."] })] })
  const element = await studio.element(id, "safelight_feedback")
  const text = await feedback(page, id)
  for (const said of ["Steered", "high · 0.75", "0.93", "triggered (gate 0.50)", "1.38 x a plain run", "12 % of the prediction", "context was lowered to 0.1.", "20 %"]) {
    assert.ok(text.includes(said), `${said} in ${text}`)
  }
  const heights = await part(page, id, ".safelight-run-stroke", "style.height")
  assert.deepEqual([heights.length, heights[0], heights.at(-1)], [20, "0%", "75%"])
  assert.equal(await isStale(page, id), false)
  await studio.commit()
  const after = await studio.save()
  assert.deepEqual(after.nodes, before.nodes)
  assert.deepEqual(await studio.history(), changes, "nothing to undo")
  assert.ok(!JSON.stringify(await studio.prompt()).includes("feedback"))
  // It stands inside its node.
  const box = await element.boundingBox()
  const [x, y, width, height] = await page.evaluate((id) => {
    const { app } = window.studio
    const node = window.studio.node(id)
    const [x, y] = app.canvas.ds.convertOffsetToCanvas([...node.pos])
    const canvas = app.canvas.canvas.getBoundingClientRect()
    return [canvas.left + x, canvas.top + y, node.size[0], node.size[1]]
  }, id)
  assert.ok(box.x >= x && box.x + box.width <= x + width + 1, "between the node's sides")
  assert.ok(box.y > y && box.y + box.height <= y + height + 3, `above its lower edge: ${box.y + box.height} ${y + height}`)
})

test("a strip shows what its run did at the highest level", async ({ page, studio }) => {
  const id = await studio.add("SafelightStrip")
  const frames = [{ safety: 0, weights: [0] }, { safety: 0.75, weights: [0.75] }]
  const pictures = [{ filename: "a.png", subfolder: "", type: "temp" }]
  const shown = JSON.stringify({ seed: 1, frames: frames.map(({ safety }) => ({ safety, pictures })) })
  await studio.executed(id, { safelight_frames: [shown], safelight_report: [report({ levels: [0, 0.75], frames })] })
  const text = await feedback(page, id)
  for (const said of ["Steered", "high · 0.75", "triggered (gate 0.50)", "x 2 plain runs"]) assert.ok(text.includes(said), `${said} in ${text}`)
  for (const [name, value, stale] of [["seed", 77, false], ["levels", "0, 1", true]]) {
    await studio.set(id, name, value)
    await studio.commit()
    assert.equal(await isStale(page, id), stale, name)
  }
})

test("a closed gate and a slider at 0 are said to be so", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSamplerAdvanced")
  const weights = steps(20, 0).map((call) => ({ ...call, progress: null }))
  const why = "the gate is closed, risk 0.12 is below 0.5: the stock sampler ran."
  await studio.executed(id, {
    safelight_report: [report({ safety: 1, risk: 0.12, gate_open: false, context: null, weights, rows: 40, notes: [why] })]
  })
  const text = await feedback(page, id)
  assert.ok(text.includes("Left alone: the stock sampler ran") && text.includes("below the gate (0.50): left alone") && text.includes("1.00 x"))
  assert.ok(!text.includes(why), "said once")
  assert.deepEqual(await part(page, id, ".safelight-run-plot", "className"), [])
  await studio.executed(id, { safelight_report: [report({ safety: 0, context: null, weights, rows: 26, remembered_rows: 14 })] })
  const off = await feedback(page, id)
  assert.ok(off.includes("Off: the stock sampler ran") && off.includes("0.65 x") && off.includes("14 rows remembered"))
})

const look = (safety, passed, ...looks) => ({ safety, passed, looks: looks.map(([safety, score, words, early = false]) => ({ safety, score, words, early })) })
const looked = (pictures, more) => report({
  risk: 0.1, gate_open: false, moved: pictures.map(({ safety }) => safety / 4),
  look: { detector: "Demo detector", passed: pictures.every(({ passed }) => passed), pictures }, ...more
})

test("a sampler with a detector says of each picture what was found and what was done", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const idle = { weights: steps(20, 0), rows: 40, moved: [] }
  const stock = look(0, true, [0, 0.1, "nothing", true], [0, 0.2, "nothing"])
  await studio.executed(id, { safelight_report: [looked([stock], idle)] })
  let text = await feedback(page, id)
  assert.ok(text.includes("Nothing found: the stock sampler ran") && text.includes("nothing found: the stock picture"), text)
  assert.ok(!text.includes("Steered") && !text.includes("Left alone"), text)
  assert.deepEqual(await part(page, id, ".safelight-run-plot", "className"), [])

  const half = look(0.5, true, [0, 0.9, "<b>knife</b>", true], [0.5, 0.2, "nothing"])
  await studio.executed(id, { safelight_report: [looked([half])] })
  text = await feedback(page, id)
  for (const said of ["Steered", "medium · 0.50", "safety 0.50 was enough · <b>knife</b> on the way at 0", "below the gate"]) assert.ok(text.includes(said), `${said} in ${text}`)
  assert.ok(!text.includes("stock"), text)

  const left = look(1, false, [0, 0.9, "gun"], [1, 0.8, "gun"])
  await studio.executed(id, { safelight_report: [looked([stock, half, left, ...Array(7).fill(stock), left])] })
  text = await feedback(page, id)
  for (const said of ["Steered: 3 of 11 pictures", "0.50 – 1.00", "picture 1nothing found: the stock picture", "picture 2safety 0.50 was enough",
    "picture 3still found at safety 1.00 · gun in the picture at 0 · gun in the picture at 1.00", "picture 8", "3 more pictures: in 1 something is still found"]) {
    assert.ok(text.includes(said), `${said} in ${text}`)
  }
  assert.ok(!text.includes("picture 9"), text)
  assert.deepEqual((await part(page, id, ".safelight-run-fault", "textContent")).length, 1)
})

test("a look at harmless words, and one with the slider at 0", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSamplerAdvanced")
  const idle = { weights: steps(20, 0), rows: 40, moved: [] }
  await studio.executed(id, { safelight_report: [looked([look(0.5, false, [0.5, 0.9, "gun"])], { ...idle, harmless: true, gate_open: true })] })
  let text = await feedback(page, id)
  assert.ok(text.includes("Left alone: the stock sampler ran") && text.includes("found, and not steered · gun in the picture at 0"), text)
  await studio.executed(id, { safelight_report: [looked([look(0, false, [0, 0.9, "gun"])], { ...idle, safety: 0 })] })
  text = await feedback(page, id)
  assert.ok(text.includes("Off: the stock sampler ran") && text.includes("found, and not steered"), text)
})

test("what a look found stands on its node, an empty note takes the last away", async ({ page, studio }) => {
  const id = await studio.add("SafelightLook")
  await studio.executed(id, { safelight_note: ["Found: nothing; <b>bomb</b>."] })
  assert.equal(await feedback(page, id), "From other settings; run againFound: nothing; <b>bomb</b>.")
  await studio.executed(id, { safelight_note: [""] })
  assert.equal(await feedback(page, id), null)
})

test("a verdict highlights the words that it acted on, as text", async ({ page, studio }) => {
  const id = await studio.add("SafelightContextEncode", { values: { prompt: PROMPT } })
  await studio.executed(id, { safelight_verdict: [verdict({ words: ["knife", "bayonet"], notes: ["a <b>note</b>"] })] })
  const shown = await feedback(page, id)
  assert.ok(shown.includes(PROMPT) && shown.includes("a <b>note</b>") && shown.includes("0.93"), shown)
  assert.deepEqual(await part(page, id, ".safelight-run-prompt mark", "textContent"), ["Knife", "knife"])
  assert.deepEqual(await part(page, id, ".safelight-run-row mark", "textContent"), ["bayonet"])
  assert.deepEqual(await part(page, id, "img, .safelight-run-note b", "tagName"), [])
})

test("a result of other settings does not look current", async ({ page, studio }) => {
  const encode = await studio.add("SafelightContextEncode", { values: { prompt: "a knife" } })
  const id = await studio.add("SafelightKSampler", { at: [800, 160] })
  await studio.connect(encode, "risk", id, "risk")
  await studio.executed(encode, { safelight_verdict: [verdict()] })
  await studio.executed(id, { safelight_report: [report()] })
  const stale = async () => [await isStale(page, encode), await isStale(page, id)]
  assert.deepEqual(await stale(), [false, false])
  await studio.set(id, "seed", 77)
  await studio.commit()
  assert.deepEqual(await stale(), [false, false], "another seed gives the same report")
  await studio.set(id, "steps", 21)
  await studio.commit()
  assert.deepEqual(await stale(), [false, true])
  await studio.undo()
  await soon(async () => assert.deepEqual(await stale(), [false, false], "undone, it holds again"))
  await studio.set(encode, "prompt", "a spoon")
  await studio.commit()
  assert.deepEqual(await stale(), [true, true], "the sampler's risk comes from that prompt")
  assert.ok((await feedback(page, encode)).includes("a knife"), "it is still about the prompt that ran")
  await studio.undo()
  await soon(async () => assert.deepEqual(await stale(), [false, false]))
})

test("the settings of the run count, not those of the moment when it ends", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const ran = await studio.save()
  await page.route("**/queue", (route) => route.request().method() === "GET"
    ? route.fulfill({ json: { queue_running: [[0, "run-2", {}, { extra_pnginfo: { workflow: ran } }, []]], queue_pending: [] } })
    : route.fallback())
  await studio.set(id, "safety", 0.1)
  await studio.commit()
  await studio.message("executed", { node: String(id), display_node: String(id), prompt_id: "run-2", output: { safelight_report: [report()] } })
  await studio.until((id) => window.studio.node(id).widgets.at(-1).element?.querySelector("[data-stale]"), id)
  await studio.set(id, "safety", 1)
  await studio.commit()
  assert.equal(await isStale(page, id), false)
  await page.unroute("**/queue")
})

test("a broken result is an error line", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  for (const broken of ["", "{", "[1]", "null", "{}", report({ weights: 3 }), report({ weights: [null] }), report({ risk: "high" }), report({ format: 1 })]) {
    await studio.executed(id, { safelight_report: [broken] })
    assert.ok((await feedback(page, id)).includes("can't be shown"), broken)
  }
  await studio.executed(id, { safelight_report: [report()] })
  assert.ok((await feedback(page, id)).includes("1.38 x"))
  const encode = await studio.add("SafelightContextEncode")
  await studio.executed(encode, { safelight_verdict: ['{"risk": 7}'] })
  assert.ok((await feedback(page, encode)).includes("can't be shown"))
  for (const odd of [{}, { safelight_report: [] }, { images: [] }]) await studio.executed(id, odd)
})

test("the setting takes effect at once", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  const size = () => page.evaluate((id) => window.studio.node(id).size[1], id)
  const before = await size()
  await studio.executed(id, { safelight_report: [report()] })
  await studio.element(id, "safelight_feedback")
  assert.ok((await size()) > before + 100)
  try {
    await studio.setting("Safelight.Feedback.Show", false)
    assert.equal(await feedback(page, id), null)
    await studio.settle()
    assert.ok(Math.abs((await size()) - before) < 2, `the node is as high as before: ${await size()} ${before}`)
    await studio.executed(id, { safelight_report: [report({ rows: 41 })] })
    assert.equal(await feedback(page, id), null)
  } finally {
    await studio.setting("Safelight.Feedback.Show", true)
  }
  assert.ok((await feedback(page, id)).includes("1.02 x"), "what ran meanwhile")
})

test("it comes back with the page's outputs, and goes with them", async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler", { values: { safety: 0.75 } })
  await studio.executed(id, { safelight_report: [report()] })
  const saved = await studio.save()
  await studio.set(id, "steps", 30)
  await studio.commit()
  await studio.undo() // makes the nodes anew
  await soon(async () => assert.ok((await feedback(page, id)).includes("1.38 x")))
  await studio.element(id, "safelight_feedback")
  assert.deepEqual((await studio.save()).nodes, saved.nodes)
  await page.evaluate(() => { window.studio.app.nodeOutputs = {} })
  assert.equal(await feedback(page, id), null)
  await page.evaluate(([id, text]) => { window.studio.app.nodeOutputs = { [id]: { safelight_report: [text] } } }, [id, report()])
  assert.ok((await feedback(page, id)).includes("1.38 x"), "as the page does for a result from its history")
  assert.equal(await isStale(page, id), false)
})

test("a new schedule starts with the preset of the settings, a saved one keeps its own", async ({ studio }) => {
  const old = await studio.add("SafelightWeightSchedule", { values: { preset: "gentle" } })
  await studio.setting("Safelight.Schedule.DefaultPreset", "bell")
  try {
    const id = await studio.add("SafelightWeightSchedule", { at: [760, 160] })
    assert.equal(await studio.get(id, "preset"), "bell")
    await studio.reopen()
    assert.equal(await studio.get(old, "preset"), "gentle")
  } finally {
    await studio.setting("Safelight.Schedule.DefaultPreset", "balanced")
  }
  assert.equal(await studio.get(await studio.add("SafelightWeightSchedule", { at: [60, 160] }), "preset"), "balanced")
})

test("in a subgraph", { skip: !since("1.27.10") }, async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler", { values: { safety: 0.75 } })
  const host = await page.evaluate((id) => {
    const { graph, app } = window.studio
    const node = window.studio.node(id)
    app.canvas.selectItems?.([node])
    const { node: made } = graph.convertToSubgraph(new Set([node]))
    return [made.id, made.subgraph.nodes[0].id]
  }, id)
  await studio.message("executed", {
    node: host.join(":"), display_node: host.join(":"), prompt_id: "run", output: { safelight_report: [report()] }
  })
  const shown = () => page.evaluate(([outer]) => {
    const inner = window.studio.app.graph.getNodeById(outer).subgraph.nodes[0]
    return inner.widgets.find((entry) => entry.name === "safelight_feedback")?.element.textContent ?? null
  }, host)
  assert.ok((await shown()).includes("1.38 x"))
  assert.ok(!JSON.stringify(await studio.save()).includes("high"), "no word in the workflow")
})
