import assert from "node:assert/strict"
import { test } from "node:test"
import { settingsBehind } from "../../js/feedback/provenance.js"

/** A prompt into an encoder into a sampler, beside another sampler. */
const flat = () => ({
  nodes: [
    { id: 1, type: "Loader", mode: 0, widgets_values: ["model"], pos: [0, 0] },
    { id: 2, type: "Encode", mode: 0, widgets_values: ["a knife"], inputs: [{ name: "clip", link: 1 }] },
    { id: 3, type: "Sampler", mode: 0, widgets_values: [7, "randomize", 20, 8], inputs: [{ name: "risk", link: 2 }, { name: "seed", link: 3 }] },
    { id: 4, type: "Seed", mode: 0, widgets_values: [9] },
    { id: 5, type: "Other", mode: 0, widgets_values: ["x"], inputs: [{ name: "in", link: 4 }] }
  ],
  links: [[1, 1, 1, 2, 0, "CLIP"], [2, 2, 2, 3, 0, "FLOAT"], [3, 4, 0, 3, 1, "INT"], [4, 3, 0, 5, 0, "LATENT"]]
})
const behind = (change = () => {}, make = flat, path = ["3"]) => {
  const workflow = make()
  change(workflow)
  return settingsBehind(workflow, path)
}

test("what a result depends on", () => {
  for (const change of [
    (w) => (w.nodes[2].widgets_values[2] = 21),
    (w) => (w.nodes[1].widgets_values[0] = "a spoon"),
    (w) => (w.nodes[0].widgets_values[0] = "another"),
    (w) => (w.nodes[1].mode = 4),
    (w) => (w.nodes[2].inputs[0].link = null)
  ]) assert.notEqual(behind(change), behind(), String(change))
})

test("and what it does not", () => {
  for (const change of [
    (w) => (w.nodes[2].widgets_values[0] = 8),
    (w) => (w.nodes[2].widgets_values[1] = "fixed"),
    (w) => (w.nodes[3].widgets_values[0] = 10),
    (w) => (w.nodes[4].widgets_values[0] = "y"),
    (w) => (w.nodes[0].pos = [5, 5]),
    (w) => (w.nodes[0].title = "mine")
  ]) assert.equal(behind(change), behind(), String(change))
})

test("a node that is not there, and a workflow in a circle", () => {
  assert.equal(behind(undefined, undefined, ["99"]), "")
  assert.equal(behind(undefined, undefined, ["3", "1"]), "")
  assert.ok(behind((w) => w.links.push([5, 3, 0, 1, 0, "X"]) && (w.nodes[0].inputs = [{ name: "x", link: 5 }])))
})

/** The sampler in a subgraph, its risk from outside, its model from a subgraph beside it. */
const nested = () => ({
  nodes: [
    { id: 1, type: "Encode", mode: 0, widgets_values: ["a knife"] },
    { id: 2, type: "inner", mode: 0, widgets_values: [0.5], inputs: [{ name: "risk", link: 1 }, { name: "model", link: 2 }] },
    { id: 6, type: "loading", mode: 0, widgets_values: [] }
  ],
  links: [[1, 1, 2, 2, 0, "FLOAT"], [2, 6, 0, 2, 1, "MODEL"]],
  definitions: { subgraphs: [
    {
      id: "inner", inputs: [{ name: "risk" }, { name: "model" }], outputs: [],
      nodes: [{ id: 3, type: "Sampler", mode: 0, widgets_values: [20], inputs: [{ name: "risk", link: 8 }, { name: "model", link: 9 }] }],
      links: [
        { id: 8, origin_id: -10, origin_slot: 0, target_id: 3, target_slot: 0 },
        { id: 9, origin_id: -10, origin_slot: 1, target_id: 3, target_slot: 1 }
      ]
    },
    {
      id: "loading", inputs: [], outputs: [{ name: "model" }],
      nodes: [{ id: 7, type: "Loader", mode: 0, widgets_values: ["model"] }],
      links: [{ id: 4, origin_id: 7, origin_slot: 0, target_id: -20, target_slot: 0 }]
    }
  ] }
})

test("through subgraphs, in and out", () => {
  const path = ["2", "3"]
  assert.ok(behind(undefined, nested, path))
  for (const change of [
    (w) => (w.nodes[0].widgets_values[0] = "a spoon"),
    (w) => (w.nodes[1].widgets_values[0] = 0.6),
    (w) => (w.definitions.subgraphs[0].nodes[0].widgets_values[0] = 21),
    (w) => (w.definitions.subgraphs[1].nodes[0].widgets_values[0] = "another")
  ]) assert.notEqual(behind(change, nested, path), behind(undefined, nested, path), String(change))
  assert.equal(behind((w) => (w.nodes[1].pos = [1, 1]), nested, path), behind(undefined, nested, path))
})
