// The page around our nodes: what becomes of them in subgraphs, on pages without our widget, collapsed, resized, zoomed.
import assert from "node:assert/strict"
import { MODE, since, test } from "./harness.mjs"
import { OURS } from "./studio.mjs"

const CURVE = JSON.stringify({ points: [[0, 0.25], [1, 0.75]], interpolation: "step" })

test("every node of ours comes up on one page, as large as its contents", async ({ page, studio }) => {
  for (const [i, type] of OURS.entries()) await studio.add(type, { at: [80 + 420 * (i % 3), 60 + 20 * i] })
  const nodes = await page.evaluate(() => window.studio.graph._nodes.map(({ type, size, title }) => [type, size[0], size[1], title]))
  for (const [type, width, height, title] of nodes) {
    assert.ok(width >= 120 && height >= 40, `${type} ${width} x ${height}`)
    assert.ok(title.startsWith("Safelight"), title)
  }
})

/** The subgraph node that the given nodes have become, all their widgets shown on it. */
const intoSubgraph = (page, ids) => page.evaluate((ids) => {
  const { graph } = window.studio
  const { node } = graph.convertToSubgraph(new Set(ids.map((id) => window.studio.node(id))))
  for (const inside of node.subgraph.nodes) {
    for (const widget of inside.widgets ?? []) {
      const slot = inside.inputs.find((input) => input.widget?.name === widget.name)
      if (!slot || slot.link != null) continue
      const input = node.subgraph.addInput(widget.name, String(slot.type))
      input.connect(slot, inside)
    }
  }
  return node.id
}, ids)

const SUBGRAPHS = { skip: !since("1.40.0") && "subgraphs came later" }

test("a schedule in a subgraph, its widgets shown outside, keeps and sends its values", SUBGRAPHS, async ({ page, studio }) => {
  const sampler = await studio.add("SafelightKSampler", { at: [760, 120] })
  const id = await studio.add("SafelightWeightSchedule", { at: [300, 120], values: { preset: "custom", context: 0.3, curve: CURVE } })
  await studio.connect(id, "schedule", sampler, "schedule")
  const host = await intoSubgraph(page, [id])
  const sent = async () => Object.values(await studio.prompt()).find((node) => node.class_type === "SafelightWeightSchedule").inputs
  assert.deepEqual(await sent(), { preset: "custom", context: 0.3, axis: "noise level", curve: CURVE })
  assert.deepEqual(await studio.values(host), { preset: "custom", context: 0.3, axis: "noise level", curve: CURVE })
  await studio.set(host, "context", 0.5)
  const other = JSON.stringify({ points: [[0, 1], [0.5, 0.5], [1, 1]], interpolation: "linear" })
  await studio.set(host, "curve", other)
  for (const again of [false, true]) {
    if (again) await studio.reopen()
    assert.deepEqual(await sent(), { preset: "custom", context: 0.5, axis: "noise level", curve: other })
  }
})

test("a node goes into a subgraph and out again with its values", SUBGRAPHS, async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule", { values: { preset: "custom", context: 0.3, curve: CURVE } })
  const host = await page.evaluate((id) => window.studio.graph.convertToSubgraph(new Set([window.studio.node(id)])).node.id, id)
  await page.evaluate((host) => window.studio.graph.unpackSubgraph(window.studio.node(host)), host)
  const back = await page.evaluate(() => window.studio.graph._nodes.map((node) => [node.type, node.id]))
  assert.deepEqual(back.map(([type]) => type), ["SafelightWeightSchedule"])
  assert.deepEqual(await studio.values(back[0][1]), { preset: "custom", context: 0.3, axis: "noise level", curve: CURVE })
})

// As pages older than the option do: a field with the text.
const asText = { objectInfo: (nodes) => void delete nodes.SafelightWeightSchedule.input.optional.curve[1].widgetType }
let savedHere // by the test before: a page with our widget

test("a workflow for the page without our widget", async ({ studio }) => {
  await studio.add("SafelightWeightSchedule", { values: { preset: "ramp up", context: 0.35, axis: "steps", curve: CURVE } })
  savedHere = await studio.save()
  assert.deepEqual(savedHere.nodes[0].widgets_values, ["custom", 0.35, "steps", CURVE])
})

test("on a page without our widget the curve is text, and workflows go both ways", asText, async ({ page, studio }) => {
  const values = { preset: "bell", context: 0.15, axis: "steps", curve: '{"points":[[0,0.5],[1,1]]}' }
  const own = await studio.add("SafelightWeightSchedule", { values })
  const sockets = await page.evaluate((id) => window.studio.node(id).inputs.filter((slot) => !slot.widget).map((slot) => slot.name), own)
  assert.deepEqual(sockets, ["curve_editor"])
  assert.deepEqual((await studio.prompt())[own].inputs, values)
  const savedThere = await studio.save()

  await studio.load(savedHere)
  const [{ id }] = savedHere.nodes
  assert.deepEqual(await studio.values(id), { preset: "custom", context: 0.35, axis: "steps", curve: CURVE })
  assert.deepEqual((await studio.save()).nodes[0].widgets_values, ["custom", 0.35, "steps", CURVE])
  savedHere = savedThere
})

test("a workflow of a page without our widget opens with every value in its place", async ({ studio }) => {
  await studio.load(savedHere)
  const values = await studio.values(savedHere.nodes[0].id)
  assert.deepEqual(values, { preset: "bell", context: 0.15, axis: "steps", curve: '{"points":[[0,0.5],[1,1]]}' })
})

/** The node's sides on the screen, in CSS pixels. */
const sides = (page, id) => page.evaluate((id) => {
  const { canvas } = window.studio.app
  const node = window.studio.node(id)
  const [left, top] = canvas.ds.convertOffsetToCanvas([...node.pos])
  const { left: x, top: y } = canvas.canvas.getBoundingClientRect()
  const [width, height] = [node.size[0] * canvas.ds.scale, node.size[1] * canvas.ds.scale]
  return { left: x + left, top: y + top, right: x + left + width, bottom: y + top + height }
}, id)

async function standsInside(page, studio, id) {
  await studio.until((id) => {
    const { width, height } = window.studio.widget(id, "curve").element.getBoundingClientRect()
    return width > 0 && height > 0
  }, id)
  await studio.settle()
  const box = await (await studio.element(id, "curve")).boundingBox()
  const node = await sides(page, id)
  assert.ok(box.x >= node.left - 1 && box.x + box.width <= node.right + 1, `between the sides: ${JSON.stringify([box, node])}`)
  assert.ok(box.y >= node.top - 1 && box.y + box.height <= node.bottom + 6, `above the lower edge: ${JSON.stringify([box, node])}`)
  return box
}

const ADVANCED = { skip: MODE !== "nodes2" && "the classic canvas shows them" }
test("a node is as tall as what it shows, without its advanced inputs", ADVANCED, async ({ page, studio }) => {
  const id = await studio.add("SafelightKSampler")
  await studio.reopen()
  const element = await page.waitForSelector(`[data-node-id="${id}"]`)
  const height = () => element.evaluate((node) => node.offsetHeight)
  const before = await height()
  await page.evaluate((id) => window.studio.node(id).setSize([window.studio.node(id).size[0], 60]), id) // no less than it needs
  await studio.settle()
  const least = await height()
  assert.ok(before - least < 40, `${before} where ${least} is enough`)
})

test("the curve's editor stays inside its node when it is resized, zoomed and moved", async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule", { at: [300, 140] })
  const first = await standsInside(page, studio, id)
  await page.evaluate((id) => {
    const node = window.studio.node(id)
    node.setSize([node.size[0] + 160, node.size[1] + 120])
    window.studio.app.canvas.setDirty(true, true)
  }, id)
  await studio.until(([id, width]) => window.studio.widget(id, "curve").element.getBoundingClientRect().width > width + 100, [id, first.width])
  const larger = await standsInside(page, studio, id)
  await studio.view({ scale: 1.5, x: -100, y: -20 })
  await studio.until(([id, width]) => window.studio.widget(id, "curve").element.getBoundingClientRect().width > width * 1.4, [id, larger.width])
  await standsInside(page, studio, id)
})

test("a collapsed node hides its editor, and shows it with its value when opened", async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule", { at: [300, 140], values: { preset: "custom", curve: CURVE } })
  await studio.element(id, "curve")
  const collapse = () => page.evaluate((id) => {
    const node = window.studio.node(id)
    node.collapse(true)
    window.studio.app.canvas.setDirty(true, true)
  }, id)
  await collapse()
  await studio.until((id) => {
    const { element } = window.studio.widget(id, "curve")
    return !element.isConnected || element.getBoundingClientRect().width === 0 || !element.checkVisibility({ visibilityProperty: true })
  }, id)
  assert.deepEqual((await studio.prompt())[id].inputs.curve, CURVE)
  await collapse()
  await standsInside(page, studio, id)
  assert.deepEqual(await studio.get(id, "curve"), CURVE)
})

test("a node with a colour, bypassed and muted, keeps its values", async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule", { values: { preset: "custom", curve: CURVE } })
  const before = await studio.values(id)
  for (const mode of [2, 4, 0]) {
    await page.evaluate(([id, mode]) => {
      const node = window.studio.node(id)
      node.mode = mode
      node.color = "#322"
      node.bgcolor = "#533"
      window.studio.app.canvas.setDirty(true, true)
    }, [id, mode])
    await studio.reopen()
    assert.deepEqual(await studio.values(id), before)
  }
})

test("the editor takes the page's colours, light and dark", async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule")
  await studio.element(id, "curve")
  const colours = () => page.evaluate((id) => {
    const { element } = window.studio.widget(id, "curve")
    return [element, ...element.querySelectorAll("*")].map((part) => {
      const { color, fill, backgroundColor } = getComputedStyle(part)
      return [color, fill, backgroundColor].join()
    }).join("\n")
  }, id)
  const dark = await colours()
  await studio.setting("Comfy.ColorPalette", "light")
  assert.notEqual(await colours(), dark)
  await studio.setting("Comfy.ColorPalette", "dark")
  for (let i = 0; i < 50 && (await colours()) !== dark; i++) await studio.settle() // colours may fade in
  assert.equal(await colours(), dark)
})
