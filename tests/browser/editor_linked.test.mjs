// The editor among other nodes: the sampler's steps, linked curves, subgraphs, values that are no curve.
import assert from "node:assert/strict"
import { test } from "./harness.mjs"
import { Plot } from "./plot.mjs"

const LINE = { points: [[0, 0.2], [1, 0.8]], interpolation: "linear" }

async function schedule(page, studio, values = {}) {
  const id = await studio.add("SafelightWeightSchedule", { at: [560, 160], values })
  return { id, plot: await Plot.of(page, studio, id) }
}

/** How many of the sampler's steps are drawn: [of this run, of its other stages]. */
const dots = (plot) =>
  plot.element.evaluate((editor) =>
    [".dots", ".idle"].map((name) => (editor.querySelector(`.safelight-plot ${name}`).getAttribute("d").match(/M/g) ?? []).length)
  )
/** The heights of the steps' dots, as weights. */
const weights = (plot) =>
  plot.element.evaluate((editor) => {
    const frame = editor.querySelector(".safelight-plot .frame").getBBox()
    const places = [...editor.querySelector(".safelight-plot .dots").getAttribute("d").matchAll(/M[\d.]+ ([\d.]+)h0/g)]
    return places.map(([, y]) => 1 - (Number(y) - frame.y) / frame.height)
  })
const untilDots = async (plot, expected) => {
  for (let i = 0; i < 50; i++) {
    if (JSON.stringify(await dots(plot)) === JSON.stringify(expected)) return
    await plot.page.waitForTimeout(100)
  }
  assert.deepEqual(await dots(plot), expected)
}
const untilRead = async (plot, words) => {
  for (let i = 0; i < 50 && !words.test(await plot.read()); i++) await plot.page.waitForTimeout(100)
  assert.match(await plot.read(), words)
}

/** Of the editor's line. */
const guidedSteps = (line) => Number(line.match(/^would guide (\d+) of/)[1])

test("the steps of the linked sampler stand at the weight that each one gets", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  assert.deepEqual(await dots(plot), [0, 0], "no sampler, no steps")
  const sampler = await studio.add("SafelightKSampler", { at: [1000, 100], values: { safety: 0.5, scheduler: "normal" } })
  await studio.connect(id, 0, sampler, "schedule")
  await untilDots(plot, [20, 0])
  const drawn = await weights(plot)
  assert.ok(drawn.every((weight) => Math.abs(weight) < 0.02 || Math.abs(weight - Math.SQRT1_2) < 0.02), drawn.join(" "))
  assert.ok(drawn[0] < 0.02 && drawn.at(-1) > 0.68, "the context's steps are at zero, the last is not")
  await untilRead(plot, /^would guide \d+ of 20 steps$/)
  const guided = guidedSteps(await plot.read())
  await studio.set(sampler, "safety", 0.9)
  await untilRead(plot, new RegExp(`^would guide (?!${guided} )\\d+ of 20 steps$`))
  assert.ok(guidedSteps(await plot.read()) > guided, "a lower slider begins later")
  await studio.set(sampler, "safety", 0.5)
  await studio.set(sampler, "steps", 10)
  await untilDots(plot, [10, 0])
  const { x, y } = await plot.at(0.9, 0.2)
  await page.mouse.move(x, y)
  assert.match(await plot.read(), /step \d+ of 10 · weight 0\.71 = 1\.00 × √0\.5$/)
  await page.mouse.move(2, 2)
  await studio.set(sampler, "safety", 0)
  await untilRead(plot, /safety 0: nothing is guided/)
  await studio.set(sampler, "scheduler", "beta57 of some pack")
  await untilDots(plot, [0, 0])
})

test("a context that the run is too short for is lowered, as Python lowers it", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "custom", context: 0.95 })
  const sampler = await studio.add("SafelightKSampler", { at: [1000, 100], values: { steps: 4, scheduler: "normal" } })
  await studio.connect(id, 0, sampler, "schedule")
  await untilDots(plot, [4, 0])
  await untilRead(plot, /context lowered to \d/)
  assert.ok((await weights(plot)).at(-1) > 0.98)
})

test("a stage of a picture shows the whole run's steps, its own apart", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  const stage = { steps: 20, scheduler: "normal", start_at_step: 0, end_at_step: 10, return_with_leftover_noise: "enable" }
  const sampler = await studio.add("SafelightKSamplerAdvanced", { at: [1000, 60], values: stage })
  await studio.connect(id, 0, sampler, "schedule")
  await untilDots(plot, [10, 10])
})

test("behind a model patch the steps are those of the KSampler that takes the model", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  const patch = await studio.add("SafelightModelPatch", { at: [900, 100], values: { safety: 0.25 } })
  const sampler = await studio.add("KSampler", { at: [1150, 100], values: { scheduler: "karras" } })
  await studio.connect(id, 0, patch, "schedule")
  await studio.connect(patch, 0, sampler, "model")
  await untilDots(plot, [20, 0])
  assert.ok(Math.abs(Math.max(...(await weights(plot))) - 0.5) < 0.02)
})

test("behind a guider the steps are those of the custom sampler's scheduler", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  const guider = await studio.add("SafelightGuider", { at: [900, 100] })
  const sampler = await studio.add("SamplerCustomAdvanced", { at: [1150, 100] })
  const sigmas = await studio.add("BasicScheduler", { at: [900, 420], values: { steps: 10, scheduler: "karras" } })
  const name = await studio.add("KSamplerSelect", { at: [900, 620], values: { sampler_name: "euler" } })
  await studio.connect(id, 0, guider, "schedule")
  await studio.connect(guider, 0, sampler, "guider")
  await studio.connect(name, 0, sampler, "sampler")
  await studio.connect(sigmas, 0, sampler, "sigmas")
  await untilDots(plot, [10, 0])
})

test("steps that come from a link that hides them are not guessed", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  const sampler = await studio.add("SafelightKSampler", { at: [1000, 100], values: { scheduler: "normal" } })
  await studio.connect(id, 0, sampler, "schedule")
  await untilDots(plot, [20, 0])
  const risk = await studio.add("SafelightContextEncode", { at: [100, 400] }) // any node that computes a number
  await studio.connect(risk, "risk", sampler, "denoise")
  await untilDots(plot, [0, 0])
})

test("a linked curve that the page cannot know is said to come from the link, and nothing is drawn", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "custom" })
  await page.evaluate((id) => {
    // A node of some pack that computes a curve when it runs.
    const graph = window.studio.graph
    const source = new window.LiteGraph.LGraphNode("Curve from somewhere")
    source.addOutput("curve", "CURVE")
    graph.add(source)
    const node = window.studio.node(id)
    source.connect(0, node, node.inputs.findIndex((input) => input.name === "curve_editor"))
  }, id)
  await studio.until(() => /The curve comes from the link/.test(document.querySelector(".safelight-note").textContent))
  assert.deepEqual(await plot.drawn(), { points: [], context: 0.2, line: false })
  await plot.drag(await plot.at(0.5, 0.9), await plot.at(0.5, 0.3))
  assert.deepEqual((await studio.curve(id)).points, [[0, 1], [1, 1]])
})

test("a linked Curve Editor's curve is shown and cannot be edited here", async ({ page, studio, t }) => {
  if (!(await studio.has("CurveEditor"))) return t.skip("this ComfyUI, or its page, has no core curve")
  const { id, plot } = await schedule(page, studio, { preset: "custom" })
  const core = await studio.add("CurveEditor", { at: [100, 160] })
  await studio.set(core, "curve", LINE)
  await studio.connect(core, 0, id, "curve_editor")
  await untilRead(plot, /The linked curve/)
  assert.deepEqual((await plot.drawn()).points, LINE.points)
  await studio.set(core, "curve", { ...LINE, points: [[0, 1], [0.5, 0.1], [1, 1]] })
  await studio.until(() => document.querySelectorAll(".safelight-plot .points g").length === 3)
  await plot.drag(await plot.point(1), await plot.at(0.5, 0.9))
  assert.equal((await plot.drawn()).points[1][1], 0.1)
  assert.equal((await studio.prompt())[id].inputs.curve_editor[0], String(core), "the prompt has the link")
  await page.mouse.move(2, 2)
  await studio.set(id, "preset", "gentle")
  await untilRead(plot, /acts with the preset custom/)
  assert.equal((await plot.drawn()).context, 0.3)
  await studio.disconnect(id, "curve_editor")
  await studio.set(id, "preset", "custom")
  assert.deepEqual((await plot.drawn()).points, [[0, 1], [1, 1]], "the own curve is back")
})

test("a value that is no curve is shown as a fault, sent as it is, and can be reset", async ({ page, studio }) => {
  const { id } = await schedule(page, studio, { preset: "custom" })
  const workflow = await studio.save()
  const broken = [5, "{oops", [3, 0], { points: [[0, 1], [1, 7]] }, { points: "no" }, { __type__: "IMAGE", __value__: 1 }, ""]
  for (const value of broken) {
    workflow.nodes[0].widgets_values[3] = value
    await studio.load(workflow)
    const plot = await Plot.of(page, studio, id)
    assert.equal((await plot.drawn()).line, false, JSON.stringify(value))
    assert.ok(await plot.text(".safelight-note.fault"))
    const sent = (await studio.prompt())[id].inputs.curve
    assert.equal(sent, typeof value === "string" ? value : JSON.stringify(value))
    await plot.click(await plot.at(0.5, 0.5))
    await plot.click(await plot.at(0.5, 0.5), { button: "right" })
    await page.keyboard.press("Escape")
  }
  const plot = await Plot.of(page, studio, id)
  await plot.press("Reset")
  assert.equal((await plot.drawn()).line, true)
  assert.equal(await plot.text(".safelight-note"), "")
})

test("a workflow that lacks the curve, or the preset's name, does not break the page", async ({ page, studio }) => {
  const { id } = await schedule(page, studio)
  const workflow = await studio.save()
  workflow.nodes[0].widgets_values = ["no such preset", 0.4, "steps"]
  await studio.load(workflow)
  const plot = await Plot.of(page, studio, id)
  assert.match(await plot.text(".safelight-note.fault"), /no preset/)
  assert.equal((await studio.prompt())[id].inputs.preset, "no such preset")
  assert.deepEqual((await studio.curve(id)).points, [[0, 1], [1, 1]])
  await plot.press("Reset")
  assert.equal(await studio.get(id, "preset"), "balanced")
})

test("a curve that guards nothing is a fault", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "custom", context: 0.3 })
  await studio.set(id, "curve", { points: [[0, 1], [0.2, 0], [1, 0]], interpolation: "linear" })
  assert.match(await plot.text(".safelight-read.fault"), /zero from the context on/)
})

test("a copied node has its own curve", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio, { preset: "bell" })
  await plot.drag(await plot.point(1), await plot.at(0.5, 0.5))
  const copied = await page.evaluate((id) => {
    const { canvas } = window.studio.app
    const node = window.studio.node(id)
    canvas.selectItems([node])
    canvas.copyToClipboard(new Set([node]))
    canvas.pasteFromClipboard()
    return window.studio.graph._nodes.at(-1).id
  }, id)
  assert.notEqual(copied, id)
  assert.deepEqual(await studio.values(copied), await studio.values(id))
  await studio.set(copied, "preset", "strict")
  await studio.set(copied, "curve", LINE)
  assert.notDeepEqual(await studio.curve(id), LINE)
  assert.deepEqual(JSON.parse((await studio.prompt())[copied].inputs.curve), LINE)
})

test("promoted to a subgraph's node, preset and curve are edited there, saved, and sent", async ({ page, studio }) => {
  const { id } = await schedule(page, studio)
  const outer = await page.evaluate((id) => {
    const { node, subgraph } = window.studio.graph.convertToSubgraph(new Set([window.studio.node(id)]))
    const [inner] = subgraph.nodes
    for (const name of ["preset", "curve"]) {
      const slot = inner.inputs.find((input) => input.name === name)
      subgraph.addInput(name, slot.type)
      subgraph.inputs.at(-1).connect(slot, inner)
    }
    return node.id
  }, id)
  await studio.commit()
  const show = (inside) =>
    page.evaluate(([outer, inside]) => {
      const { app } = window.studio
      const root = app.rootGraph ?? app.graph
      const host = root.getNodeById(outer)
      if (inside && app.canvas.openSubgraph) app.canvas.openSubgraph(host.subgraph, host)
      else app.canvas.setGraph(inside ? host.subgraph : root)
    }, [outer, inside])
  const sent = async () =>
    Object.values(await studio.prompt()).find((node) => node.class_type === "SafelightWeightSchedule").inputs
  await show(true)
  await page.waitForTimeout(800) // the view glides to the inner graph
  const plot = await Plot.of(page, studio, id)
  await plot.drag(await plot.point(1), await plot.at(0.8, 0.4))
  const { preset, curve } = await sent()
  assert.equal(preset, "custom")
  assert.ok(Math.abs(JSON.parse(curve).points[1][1] - 0.4) < 0.03, curve)
  await show(false)
  await studio.settle()
  const { preset: shown, curve: held } = await studio.values(outer)
  assert.deepEqual([shown, held], [preset, curve])
  await studio.reopen()
  assert.deepEqual((await sent()).curve, curve)
  assert.equal((await sent()).preset, "custom")
})

test("a preset puts its context into the box, and a context typed there makes a curve of one's own", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  await studio.set(id, "preset", "gentle")
  assert.equal(await studio.get(id, "context"), 0.3)
  await studio.set(id, "preset", "bell")
  await studio.set(id, "context", 0.45)
  assert.equal(await studio.get(id, "preset"), "custom")
  assert.deepEqual(await studio.curve(id), { points: [[0.2, 0.2], [0.6, 1], [1, 0.2]], interpolation: "monotone_cubic" })
  await untilRead(plot, /45 %/)
})

test("a saved schedule is opened as it was saved, whatever its box says", async ({ page, studio }) => {
  const { id } = await schedule(page, studio)
  const workflow = await studio.save()
  workflow.nodes[0].widgets_values = ["gentle", 0.2, "steps"]
  await studio.load(workflow)
  await page.waitForTimeout(900) // the editor has looked at it twice
  assert.deepEqual((await studio.save()).nodes[0].widgets_values.slice(0, 3), ["gentle", 0.2, "steps"])
  assert.ok(id)
})

test("where the slider makes a run begin later, the second line says so", async ({ page, studio }) => {
  const { id, plot } = await schedule(page, studio)
  const sampler = await studio.add("SafelightKSampler", { at: [1000, 100] })
  await studio.connect(id, 0, sampler, "schedule")
  const shown = () => plot.element.evaluate((editor) =>
    [...editor.querySelectorAll(".safelight-plot text")].filter((text) => text.getAttribute("visibility") !== "hidden").map((text) => text.textContent))
  await untilDots(plot, [20, 0])
  assert.ok(!(await shown()).some((text) => text.startsWith("begins here")))
  await studio.set(sampler, "safety", 0.5)
  await studio.until(() => [...document.querySelectorAll(".safelight-plot text")].some((text) => text.textContent === "begins here at safety 0.50"))
  assert.ok((await shown()).includes("begins here at safety 0.50"))
})

test("the wheel over the editor zooms the canvas", async ({ page, studio }) => {
  const { plot } = await schedule(page, studio)
  const scale = () => page.evaluate(() => window.studio.app.canvas.ds.scale)
  const before = await scale()
  const { x, y } = await plot.at(0.5, 0.5)
  await page.mouse.move(x, y)
  await page.mouse.wheel(0, -120)
  await studio.until((before) => window.studio.app.canvas.ds.scale > before, before)
})
