// The workflows and the subgraph in the page: nothing missing, every value in its place, nothing in the way of anything
// else, and the prompt that runner/workflow.py makes of the file. On a real server each one runs.
import assert from "node:assert/strict"
import { bare, conversions, earlier, pages, withoutNone } from "./conversions.mjs"
import { HOST, URL as SERVER, since, test } from "./harness.mjs"

const REAL = HOST !== "stand-in"
const MINUTES = 160_000 // ms that a run may take on a loaded machine

let asked // once, of the server that the page is from
const prompts = () => (asked ??= fetch(`${SERVER}/object_info`).then(async (answer) => conversions(await answer.json())))

const NO_TINY_MODEL = ["04 Qwen-Image", "05 Z-Image", "06 Qwen-Image-Edit with your picture"]
const LOADERS = { CLIPLoader: 1, DualCLIPLoader: 1, VAELoader: 2 } // and the output of a checkpoint in their place
// Six columns side by side, of nodes as narrow as Nodes 2.0 has them, so that they open a little smaller.
const WIDE = ["13 Compare methods", "14 Compare edits"]
const EASY_SIZE = 7 // where the width stands among the values of Safelight Easy
const [LEGIBLE, LEGIBLE_WIDE] = since("1.58.1") ? [0.6, 0.57] : [0.57, 0.55] // below 0.57 the classic canvas draws no words

/** The workflow with a tiny random model for its own, at 64 x 64 pixels. */
function onTinyModels(workflow) {
  const swapped = structuredClone(workflow)
  const model = swapped.nodes.find(({ type }) => /^(CheckpointLoaderSimple|UNETLoader)$/.test(type))
  if (!model) return swapped
  model.type = model.properties["Node name for S&R"] = "TinyCheckpoint"
  model.widgets_values = [/flux/.test(model.widgets_values?.[0]) ? "Flux" : "SDXL"]
  model.outputs = ["MODEL", "CLIP", "VAE"].map((type, i) => ({ links: [], ...model.outputs[i], name: type, type }))
  for (const { id, type, outputs } of swapped.nodes.filter(({ type }) => type in LOADERS)) {
    model.outputs[LOADERS[type]].links.push(...outputs[0].links)
    for (const link of swapped.links.filter(([, origin]) => origin === id)) link.splice(1, 2, model.id, LOADERS[type])
  }
  swapped.nodes = swapped.nodes.filter(({ type }) => !(type in LOADERS))
  for (const { type, widgets_values: values } of swapped.nodes) {
    if (/^Empty.*LatentImage$/.test(type)) values.splice(0, 2, 64, 64)
    if (type === "SafelightEasy") values.splice(EASY_SIZE, 2, 64, 64)
  }
  return swapped
}

/** Queues the graph shown by the page's own command, waits until the server has run it, and gives its history. */
async function run(page) {
  const answer = page.waitForResponse((r) => r.request().method() === "POST" && /\/prompt$/.test(r.url()))
  await page.evaluate(() => window.studio.app.queuePrompt(0, 1))
  const { prompt_id, error, node_errors } = await (await answer).json()
  assert.ok(prompt_id, JSON.stringify([error, node_errors]))
  for (const end = Date.now() + MINUTES; Date.now() < end; ) {
    const entry = (await (await fetch(`${SERVER}/history/${prompt_id}`)).json())[prompt_id]
    if (entry) return entry
    await new Promise((done) => setTimeout(done, 200))
  }
  throw new Error(`the server did not finish in ${MINUTES / 1000} s`)
}

/** Every node's [id, left, top, right, bottom] as drawn: by the canvas, or by Nodes 2.0 as elements. */
function drawn(page) {
  return page.evaluate(() =>
    window.studio.graph._nodes.map((node) => {
      const element = document.querySelector(`[data-node-id="${node.id}"]`)
      const title = window.LiteGraph.NODE_TITLE_HEIGHT
      const width = element?.offsetWidth ?? node.size[0]
      const height = element?.offsetHeight ?? (node.flags.collapsed ? 0 : node.size[1]) + title
      const [left, top] = [node.pos[0], node.pos[1] - title]
      return [`${node.type} ${node.id}`, left, top, left + width, top + height]
    })
  )
}

for (const [name, workflow] of Object.entries(pages)) {
  test(`${name}: in the page`, async ({ page, studio }) => {
    const expected = withoutNone((await prompts())[name])
    await studio.load(workflow)
    const unknown = await page.evaluate(() => {
      const types = window.studio.graph._nodes.map((node) => node.type)
      return types.filter((type) => !(type in window.LiteGraph.registered_node_types))
    })
    assert.deepEqual(unknown, [])
    assert.deepEqual(withoutNone(bare(await studio.prompt())), expected)

    await studio.view({ scale: 0.4, x: 20, y: 40 })
    const boxes = await drawn(page)
    assert.equal(boxes.length, workflow.nodes.length)
    for (const [i, [a, left, top, right, bottom]] of boxes.entries()) {
      for (const [b, l, t, r, d] of boxes.slice(0, i)) {
        assert.ok(r <= left || right <= l || d <= top || bottom <= t, `${a} lies on ${b}`)
      }
    }

    const saved = await studio.reopen()
    assert.deepEqual(withoutNone(bare(await studio.prompt())), expected, "after saving and opening")
    assert.equal(saved.groups.length, workflow.groups.length)
    assert.deepEqual(
      saved.nodes.filter((n) => n.type === "MarkdownNote").map((n) => n.widgets_values),
      workflow.nodes.filter((n) => n.type === "MarkdownNote").map((n) => n.widgets_values)
    )
  })

  const still = (!REAL && "the stand-in runs nothing") || (NO_TINY_MODEL.includes(name) && "no tiny model of this kind")
  test(`${name}: runs`, { skip: still }, async ({ page, studio }) => {
    await studio.load(onTinyModels(workflow))
    const entry = await run(page)
    assert.equal(entry.status.status_str, "success", JSON.stringify(entry.status.messages))
    const saved = Object.values(entry.outputs).flatMap(({ images }) => images ?? []).filter(({ type }) => type === "output")
    assert.equal(saved.length, workflow.nodes.filter((n) => n.type === "SaveImage").length)
  })
}

test("templates open large enough to read at 1280 x 800 pixels", async ({ page, studio }) => {
  const size = page.viewportSize()
  try {
    await page.setViewportSize({ width: 1280, height: 800 })
    await studio.settle()
    for (const [name, workflow] of Object.entries(pages)) {
      const scale = await page.evaluate(
        async ([workflow, name]) => {
          const { app } = window.studio
          await app.loadGraphData(workflow, true, true, name, { openSource: "template" })
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
          return app.canvas.ds.scale
        },
        [{ ...workflow, extra: {} }, name]
      )
      assert.ok(scale >= (WIDE.includes(name) ? LEGIBLE_WIDE : LEGIBLE), `${name}: ${scale.toFixed(2)}`)
    }
  } finally {
    await page.setViewportSize(size)
  }
})

const APP = "01 Start here.app"
const apps = since("1.58.1") && (await fetch(`${SERVER}/workflow_templates`)).ok
test("the App opens as an App, from the template browser", { skip: !apps && "this page knows no Apps", settings: {} }, async ({ page, studio }) => {
  await page.evaluate(
    ([workflow, name]) => window.studio.app.loadGraphData(workflow, true, true, name, { openSource: "template" }),
    [pages[APP], APP]
  )
  const { path, initialMode } = await page.evaluate(() => {
    const { path, initialMode } = window.studio.app.extensionManager.workflow.activeWorkflow
    return { path, initialMode }
  })
  assert.deepEqual([path, initialMode], [`workflows/${APP}.json`, "app"])
  for (const name of ["prompt", "seed", /^safety · /]) {
    await page.getByText(name, { exact: true }).locator("visible=true").first().waitFor()
  }
})

test("a workflow of the earlier form gives the same prompt, and is saved in today's", async ({ studio }) => {
  const expected = (await prompts())["16 The slider on one picture"]
  await studio.load(earlier)
  assert.deepEqual(bare(await studio.prompt()), expected)
  const { nodes } = await studio.reopen()
  assert.deepEqual(bare(await studio.prompt()), expected)
  const { widgets_values } = nodes.find(({ type }) => type === "SafelightWeightSchedule")
  assert.ok(widgets_values.every((value) => typeof value !== "object"))
})

test("a Curve Editor linked in the earlier form is linked again", async ({ studio, t }) => {
  if (!(await studio.has("CurveEditor"))) return t.skip("this ComfyUI, or its page, has no core curve")
  const id = await studio.add("SafelightWeightSchedule", { at: [700, 160], values: { preset: "custom" } })
  const core = await studio.add("CurveEditor", { at: [120, 160] })
  await studio.connect(core, "curve", id, "curve_editor")
  const expected = bare(await studio.prompt())
  const saved = await studio.save()
  const [schedule] = saved.nodes.filter(({ type }) => type === "SafelightWeightSchedule")
  const { link } = schedule.inputs.find(({ name }) => name === "curve_editor")
  schedule.inputs = schedule.inputs.filter(({ name }) => !/^curve/.test(name))
  schedule.inputs.push({ name: "curve", shape: 7, type: "CURVE", widget: { name: "curve" }, link })
  saved.links.find(([number]) => number === link)[4] = schedule.inputs.length - 1
  schedule.widgets_values[3] = JSON.parse(schedule.widgets_values[3])
  await studio.load(saved)
  assert.deepEqual(bare(await studio.prompt()), expected)
  await studio.reopen()
  assert.deepEqual(bare(await studio.prompt()), expected)
})

/** Puts a node into the graph as an artist does: double click, its name, Enter. */
async function search(page, studio, words) {
  const nodes = () => page.evaluate(() => window.studio.graph._nodes.length)
  const before = await nodes()
  const field = page.locator("input:focus")
  for (let tries = 3; ; tries--) {
    // The page may still be taking the last workflow away under the pointer; an artist would click again too.
    await page.mouse.dblclick(700, 450)
    const found = await field.waitFor({ timeout: 6000 }).catch((error) => error)
    if (!found) break
    if (tries === 1) throw found
  }
  await field.pressSequentially(words, { delay: 20 })
  await page.getByText(words, { exact: true }).first().waitFor()
  await page.keyboard.press("Enter")
  await studio.until((count) => window.studio.graph._nodes.length > count, before)
  await studio.settle()
  await page.mouse.click(700, 450) // newer pages let the pointer carry it until a click
  await studio.settle()
}

const blueprints = since("1.49.6") && (await fetch(`${SERVER}/global_subgraphs`)).ok
const skip = !blueprints && "this page or its server knows no blueprints of packs"

test("Safe KSampler comes from the node search with its slider outside", { skip }, async ({ page, studio }) => {
  await search(page, studio, "Safe KSampler")
  const [id] = await page.evaluate(() => window.studio.graph._nodes.map((node) => node.id))
  const values = await studio.values(id)
  const outside = "prompt safe_prompt concepts safety preset seed steps cfg sampler_name scheduler denoise"
  assert.deepEqual(Object.keys(values), outside.split(" "))
  assert.deepEqual([values.safety, values.preset], [1, "balanced"])

  const loader = await studio.add("SafelightDemoLoader", { at: [40, 160] })
  const negative = await studio.add("CLIPTextEncode", { at: [40, 340] })
  const empty = await studio.add("EmptyLatentImage", { at: [40, 600], values: { width: 96, height: 96 } })
  const decode = await studio.add("VAEDecode", { at: [1040, 160] })
  const save = await studio.add("SaveImage", { at: [1040, 300] })
  await studio.connect(loader, "MODEL", id, "model")
  await studio.connect(loader, "CLIP", id, "clip")
  await studio.connect(loader, "CLIP", negative, "clip")
  await studio.connect(negative, "CONDITIONING", id, "negative")
  await studio.connect(empty, "LATENT", id, "latent_image")
  await studio.connect(id, "LATENT", decode, "samples")
  await studio.connect(loader, "VAE", decode, "vae")
  await studio.connect(decode, "IMAGE", save, "images")
  await studio.set(id, "prompt", "a cat on a green background")
  await studio.set(id, "concepts", "a weapon, something sharp")
  await studio.set(id, "safety", 0.6)

  await studio.reopen()
  const prompt = await studio.prompt()
  const inside = (type) => Object.values(prompt).find((node) => node.class_type === type).inputs
  assert.equal(inside("SafelightContextEncode").prompt, "a cat on a green background")
  assert.equal(inside("SafelightWeightSchedule").preset, "balanced")
  const { safety, seed, steps, scheduler, schedule, safe, risk } = inside("SafelightKSampler")
  assert.deepEqual([safety, seed, steps, scheduler], [0.6, 0, 20, "karras"])
  for (const link of [schedule, safe, risk]) assert.ok(prompt[link[0]], "its inner nodes are linked")
  if (REAL) {
    const entry = await run(page)
    assert.equal(entry.status.status_str, "success", JSON.stringify(entry.status.messages))
    assert.equal(Object.values(entry.outputs).flatMap(({ images }) => images ?? []).length, 1)
  }
})
