import assert from "node:assert/strict"
import test from "node:test"

import { fromEarlier } from "../../js/earlier.js"

const schedule = (curve) => ({ id: 1, type: "SafelightWeightSchedule", inputs: [{ name: "curve", type: "CURVE", ...curve }] })
const opened = (workflow) => {
  fromEarlier(workflow)
  return workflow
}
const WIDGET = { widget: { name: "curve" } }

test("a linked curve has an input of its own, whether the page had a widget for it or not", () => {
  for (const widget of [WIDGET, {}]) {
    const [{ inputs }] = opened({ nodes: [schedule({ ...widget, link: 5 })], links: [[5, 2, 0, 1, 0, "CURVE"]] }).nodes
    assert.deepEqual(inputs, [{ name: "curve_editor", type: "CURVE", link: 5 }])
  }
})

test("a curve's widget without a link is text", () => {
  const [{ inputs }] = opened({ nodes: [schedule({ ...WIDGET, link: null })] }).nodes
  assert.deepEqual(inputs, [{ name: "curve", type: "STRING", ...WIDGET, link: null }])
})

const SHAPE = { points: [[0, 1], [1, 0.5]] }

/** A schedule in a subgraph, its curve an input of that. */
const inside = (outerLink) => ({
  nodes: [{
    id: 9,
    type: "the subgraph",
    inputs: [
      { name: "model", type: "MODEL", link: 1 },
      { name: "preset", type: "COMBO", widget: { name: "preset" }, link: null },
      { name: "shape", type: "CURVE", widget: { name: "shape" }, link: outerLink }
    ],
    widgets_values: ["custom", SHAPE],
    widgets_values_named: { preset: "custom", shape: SHAPE }
  }],
  definitions: {
    subgraphs: [{
      id: "the subgraph",
      inputs: [{ name: "shape", type: "CURVE", linkIds: [3] }],
      links: [{ id: 3, origin_id: -10, origin_slot: 0, target_id: 1, target_slot: 0, type: "CURVE" }],
      nodes: [schedule({ ...WIDGET, link: 3 })]
    }]
  }
})

test("shown on a subgraph's node it is text from end to end", () => {
  const { nodes, definitions } = opened(inside(null))
  const [{ inputs, links, nodes: inner }] = definitions.subgraphs
  assert.deepEqual([nodes[0].inputs[2], inputs[0], links[0], inner[0].inputs[0]].map(({ type }) => type), Array(4).fill("STRING"))
  assert.deepEqual(nodes[0].widgets_values, ["custom", JSON.stringify(SHAPE)])
  assert.deepEqual(nodes[0].widgets_values_named, { preset: "custom", shape: JSON.stringify(SHAPE) })
})

test("linked through a subgraph's node it goes to the input of its own", () => {
  const { nodes, definitions } = opened(inside(4))
  assert.deepEqual(definitions.subgraphs[0].nodes[0].inputs, [{ name: "curve_editor", type: "CURVE", link: 3 }])
  assert.equal(nodes[0].inputs[2].type, "CURVE")
})

test("what is of today's form, or of other nodes, stays as it is", () => {
  const today = { nodes: [
    { type: "SafelightWeightSchedule", inputs: [{ name: "curve", type: "STRING", ...WIDGET, link: 1 }, { name: "curve_editor", type: "CURVE", link: 2 }] },
    { type: "CurveEditor", inputs: [{ name: "curve", type: "CURVE", ...WIDGET, link: 3 }] },
    { type: "Note" }
  ] }
  assert.deepEqual(opened(structuredClone(today)), today)
})

const STOCK = [7, "fixed", 20, 3, "euler", "karras"]
const SLIDER_FIRST = {
  SafelightKSampler: [[...STOCK, 1, 0.75, 0.5], [0.75, ...STOCK, 1, 0.5]],
  SafelightKSamplerAdvanced: [["enable", ...STOCK, 0, 10000, "disable", 0.75, 0.5], [0.75, "enable", ...STOCK, 0, 10000, "disable", 0.5]],
  SafelightStrip: [[...STOCK, 1, "0, 1", 0.5], ["0, 1", ...STOCK, 1, 0.5]]
}

for (const [type, [earlier, now]] of Object.entries(SLIDER_FIRST)) {
  test(`${type}: the slider's value goes where the slider is, once`, () => {
    const inSubgraph = { nodes: [{ id: 2, type, widgets_values: [...earlier] }] }
    const workflow = opened({ nodes: [{ id: 1, type, widgets_values: [...earlier] }], definitions: { subgraphs: [inSubgraph] } })
    for (const { nodes } of [workflow, inSubgraph]) assert.deepEqual(nodes[0].widgets_values, now)
    assert.deepEqual(opened(workflow).nodes[0].widgets_values, now)
  })
}

test("other nodes, and nodes without values, stay as they are", () => {
  const nodes = [{ id: 1, type: "KSampler", widgets_values: [...STOCK] }, { id: 2, type: "SafelightKSampler" }]
  assert.deepEqual(opened({ nodes: structuredClone(nodes) }).nodes, nodes)
})
