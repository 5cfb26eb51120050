// Values of our widgets: saved, opened, copied, undone, sent, and what foreign workflows may hold in their place.
import assert from "node:assert/strict"
import { test } from "./harness.mjs"
import { OURS } from "./studio.mjs"

const SHAPE = { points: [[0, 0.25], [0.5, 1], [1, 0.75]], interpolation: "monotone_cubic" }
const CURVE = JSON.stringify(SHAPE)

/** Another value than the widget has, of its kind. */
const changed = (page, id) => page.evaluate(([id, curve]) => {
  const values = {}
  for (const widget of window.studio.node(id).widgets ?? []) {
    const { name, value, options } = widget
    if (widget.type === "button") continue
    const choices = typeof options?.values === "function" ? options.values() : options?.values
    if (name === "control_after_generate") values[name] = "fixed" // the others are the page's own work
    else if (name === "curve") values[name] = curve
    else if (Array.isArray(choices)) values[name] = choices.at(-1) ?? null // no file to choose
    else if (typeof value === "number") values[name] = Math.min(options.max ?? Infinity, value > 0.5 ? value / 2 : value + 0.5)
    else if (typeof value === "boolean") values[name] = !value
    else values[name] = `${value}, another "text"\nof two lines`
    if (/seed|steps|_step$|smooth|grow|epochs|width|height|batch_size/.test(name)) {
      const unit = options.step2 ?? options.step / 10 // older pages have ten times the step alone
      values[name] = (Math.floor(value / unit) + 3) * unit
    }
  }
  return values
}, [id, CURVE])

async function addAll(studio) {
  const ids = {}
  for (const [i, type] of OURS.entries()) ids[type] = await studio.add(type, { at: [80 + 420 * (i % 3), 60 + 20 * i] })
  return ids
}

test("changed values of every widget survive saving and opening, and are what the prompt sends", async ({ page, studio }) => {
  const ids = await addAll(studio)
  const values = {}
  for (const [type, id] of Object.entries(ids)) {
    values[type] = await changed(page, id)
    await studio.setAll(id, values[type])
  }
  await studio.reopen()
  const prompt = await studio.prompt()
  for (const [type, id] of Object.entries(ids)) {
    assert.deepEqual(await studio.values(id), values[type], type)
    const { control_after_generate, ...sent } = values[type]
    assert.deepEqual(prompt[id].inputs, sent, `${type} in the prompt`)
  }
})

test("a curve in a prompt is text wherever it came from", async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule")
  for (const given of [CURVE, SHAPE, SHAPE.points, { __value__: SHAPE.points }, { __type__: "CURVE", __value__: SHAPE }]) {
    await studio.set(id, "curve", given)
    const { curve } = (await studio.prompt())[id].inputs
    assert.equal(curve, typeof given === "string" ? given : JSON.stringify(given))
    await studio.reopen()
    assert.deepEqual((await studio.prompt())[id].inputs.curve, curve)
  }
})

test("a linked core curve goes before the widget, and comes back with the workflow", async ({ studio, t }) => {
  if (!(await studio.has("CurveEditor"))) return t.skip("this ComfyUI, or its page, has no core curve")
  const id = await studio.add("SafelightWeightSchedule", { at: [700, 160], values: { preset: "custom", curve: CURVE } })
  const core = await studio.add("CurveEditor", { at: [120, 160] })
  await studio.connect(core, "curve", id, "curve_editor")
  for (const again of [false, true]) {
    if (again) await studio.reopen()
    const prompt = await studio.prompt()
    assert.deepEqual(prompt[id].inputs.curve_editor, [String(core), 0])
    assert.equal(prompt[id].inputs.curve, CURVE)
    assert.ok(prompt[core].inputs.curve.points ?? prompt[core].inputs.curve.__value__, "the core curve's value is sent by its own node")
  }
  await studio.disconnect(id, "curve_editor")
  assert.deepEqual((await studio.prompt())[id].inputs, { preset: "custom", context: 0.2, axis: "noise level", curve: CURVE })
})

test("nodes are copied and pasted with their values", async ({ page, studio }) => {
  const id = await studio.add("SafelightWeightSchedule", { values: { preset: "custom", context: 0.4, curve: CURVE } })
  await studio.select(id)
  await page.keyboard.press("Control+c")
  await studio.until(() => navigator.clipboard?.readText().then(() => true))
  await page.keyboard.press("Control+v")
  await studio.until(() => window.studio.graph._nodes.length === 2)
  await studio.settle()
  const copy = await page.evaluate((id) => window.studio.graph._nodes.find((node) => node.id !== id).id, id)
  const { axis } = await studio.values(id)
  assert.deepEqual(await studio.values(copy), { preset: "custom", context: 0.4, axis, curve: CURVE })
  await studio.set(copy, "curve", { points: [[0, 0], [1, 1]], interpolation: "linear" })
  assert.equal(await studio.get(id, "curve"), CURVE, "the copy's curve is its own")
})

test("undo and redo of widget values, one step each", async ({ studio }) => {
  const id = await studio.add("SafelightKSampler")
  const states = [await studio.values(id)]
  for (const [name, value] of [["safety", 0.4], ["gate", 0.7], ["merge_at", 0.6]]) {
    await studio.set(id, name, value)
    await studio.commit()
    states.push(await studio.values(id))
  }
  for (const state of [states[2], states[1], states[0]]) {
    await studio.undo()
    assert.deepEqual(await studio.values(id), state)
  }
  for (const state of states.slice(1)) {
    await studio.redo()
    assert.deepEqual(await studio.values(id), state)
  }
})

test("undo of a curve's value", async ({ studio }) => {
  const id = await studio.add("SafelightWeightSchedule")
  const before = await studio.values(id)
  await studio.set(id, "curve", CURVE)
  await studio.commit()
  await studio.undo()
  assert.deepEqual(await studio.values(id), before)
  await studio.redo()
  assert.equal(await studio.get(id, "curve"), CURVE)
})

const POINTS = [[0, 1], [1, 1]]
const FULL = { points: POINTS, interpolation: "linear" }
const FOREIGN = [null, "", "rubbish {", 5, -1e9, true, [], [0, 1], POINTS, {}, { points: "none" },
  { points: [[0, 1], [2, 3]], interpolation: "linear" }, { __value__: null }, { points: POINTS, interpolation: 7 }]

test("no broken curve acts as another, and an absent one is the default", async ({ studio }) => {
  await studio.add("SafelightWeightSchedule")
  const workflow = await studio.save()
  const [node] = workflow.nodes
  const nodes = FOREIGN.map((value, i) => ({ ...node, id: i + 1, pos: [100 + 20 * i, 100], widgets_values: Array(4).fill(value) }))
  await studio.load({ ...workflow, last_node_id: nodes.length, nodes })
  for (const again of [false, true]) {
    if (again) await studio.reopen()
    const prompt = await studio.prompt()
    for (const [i, value] of FOREIGN.entries()) {
      const { curve } = prompt[i + 1].inputs
      const said = `${JSON.stringify(value)} became ${JSON.stringify(curve)}${again ? " when opened again" : ""}`
      if (value === null) assert.equal(curve, JSON.stringify(FULL), said)
      else assert.equal(curve, typeof value === "string" ? value : JSON.stringify(value), said)
    }
  }
})

test("foreign values in every widget of ours leave the page standing", async ({ studio }) => {
  await addAll(studio)
  const good = await studio.save()
  for (const shift of [0, 5, 10]) {
    const bad = JSON.parse(JSON.stringify(good))
    for (const node of bad.nodes) {
      node.widgets_values = (node.widgets_values ?? []).map((_, i) => FOREIGN[(i + shift) % FOREIGN.length])
    }
    await studio.load(bad)
    await studio.prompt()
  }
  await studio.load(good)
  const values = ({ nodes }) => nodes.map((node) => node.widgets_values ?? [])
  assert.deepEqual(values(await studio.save()), values(good))
})

test("a workflow with too few or too many values opens", async ({ studio }) => {
  const id = await studio.add("SafelightWeightSchedule", { values: { preset: "strict", context: 0.6 } })
  const workflow = await studio.save()
  const node = workflow.nodes[0]
  for (const values of [["custom"], ["custom", 0.3, "steps"], ["custom", 0.3, "steps", CURVE, "more", 7]]) {
    await studio.load({ ...workflow, nodes: [{ ...node, widgets_values: values }] })
    const found = Object.values(await studio.values(id))
    assert.deepEqual(found.slice(0, values.length), values.slice(0, 4))
    assert.equal(found.length, 4)
  }
})
