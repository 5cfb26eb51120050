// The page of the package index build of ComfyUI, of June 2024: no widget of ours there, but every node, and no fault.
// Run by itself, on that server: SAFELIGHT_URL=... node --test tests/browser/index_page.mjs
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { chromium } from "playwright-core"
import { bare, conversions, pages, withoutNone } from "./conversions.mjs"

const NOTE = /^(Markdown)?Note$/
let browser
let page
const faults = []

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] })
  page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
  page.on("pageerror", (error) => faults.push(error.stack))
  page.on("console", (message) => {
    const said = `${message.text()} ${message.location().url}`
    if (message.type() === "error" && /safelight/i.test(said)) faults.push(said)
  })
  await page.goto(process.env.SAFELIGHT_URL, { timeout: 90_000 })
  await page.waitForFunction(() => window.LiteGraph?.registered_node_types?.SafelightWeightSchedule, null, { timeout: 90_000 })
  // The page ends its start by loading a graph.
  await page.waitForFunction(async () => (await import("/scripts/app.js")).app.graph?._nodes.length > 0, null, { timeout: 90_000 })
})

after(() => browser?.close())

test("every node comes up, the curve is text, and a workflow of a newer page opens with every value in its place", async () => {
  const found = await page.evaluate(async () => {
    const { app } = await import("/scripts/app.js")
    app.graph.clear()
    const types = Object.keys(window.LiteGraph.registered_node_types).filter((type) => type.startsWith("Safelight"))
    for (const type of types) app.graph.add(window.LiteGraph.createNode(type))
    const schedule = app.graph._nodes.find(({ type }) => type === "SafelightWeightSchedule")
    const workflow = app.graph.serialize()
    const saved = workflow.nodes.find(({ id }) => id === schedule.id)
    saved.widgets_values = ["ramp up", 0.35, "steps", JSON.stringify({ points: [[0, 0], [1, 1]] })]
    await app.loadGraphData(workflow)
    const { output } = await app.graphToPrompt()
    return { types, sockets: schedule.inputs.map(({ name }) => name), inputs: output[schedule.id].inputs }
  })
  assert.ok(found.types.length >= 7, found.types.join())
  assert.deepEqual(found.sockets, ["curve_editor"])
  assert.deepEqual(found.inputs, { preset: "ramp up", context: 0.35, axis: "steps", curve: '{"points":[[0,0],[1,1]]}' })
})

test("the workflows open with every value in its place", async () => {
  const nodes = await (await fetch(`${process.env.SAFELIGHT_URL}/object_info`)).json()
  const known = Object.entries(pages).filter(([, { nodes: all }]) => all.every(({ type }) => type in nodes || NOTE.test(type)))
  assert.ok(known.length >= 6, "those without Safelight Model Patch, Flux and newer models")
  const expected = conversions(nodes, Object.fromEntries(known))
  for (const [name, workflow] of known) {
    const { prompt, notes } = await page.evaluate(async (workflow) => {
      const { app } = await import("/scripts/app.js")
      await app.loadGraphData(workflow)
      const notes = app.graph._nodes.filter(({ type }) => type === "Note").map(({ widgets }) => widgets[0].value)
      return { prompt: JSON.parse(JSON.stringify((await app.graphToPrompt()).output)), notes }
    }, workflow)
    assert.deepEqual(withoutNone(bare(prompt)), withoutNone(expected[name]), name)
    assert.deepEqual(notes, workflow.nodes.filter(({ type }) => NOTE.test(type)).map((node) => node.widgets_values[0]), name)
  }
})

test("the page has no word of ours", () => assert.deepEqual(faults, []))
