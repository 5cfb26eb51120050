import assert from "node:assert/strict"
import test from "node:test"

import { makerOf, servedBy, sourceOf } from "../../js/schedule/linked.js"

/** A graph as the page's: nodes by id, links as [id, origin, slot, target, slot]. Real ones are in the browser tests. */
function graph(nodes, links) {
  const made = {
    nodes,
    getNodeById: (id) => nodes.find((node) => node.id === id),
    getLink: (id) => {
      const link = links.find((each) => each[0] === id)
      return link && { origin_id: link[1], origin_slot: link[2], target_id: link[3], target_slot: link[4] }
    }
  }
  for (const node of nodes) node.graph = made
  return made
}

const schedule = (...links) => ({ id: 1, inputs: [], outputs: [{ type: "SAFELIGHT_SCHEDULE", links }] })
const SETTINGS = { steps: 20, scheduler: "karras", sampler_name: "euler", denoise: 1, safety: 0.5 }
const widgets = (values) => Object.entries(values).map(([name, value]) => ({ name, value }))
const sampler = (id, settings = SETTINGS, inputs = [{ name: "schedule", link: 1 }]) => ({
  id, comfyClass: "SafelightKSampler", inputs, outputs: [], widgets: widgets(settings)
})
const { safety: SAFETY, ...RUN } = SETTINGS

test("a schedule's sampler gives the slider and the run", () => {
  const node = schedule(1)
  graph([node, sampler(2)], [[1, 1, 0, 2, 0]])
  assert.deepEqual(servedBy(node), { safety: SAFETY, run: RUN })
})

test("a strip has a run and several levels, so no slider", () => {
  const node = schedule(1)
  const { safety, ...settings } = SETTINGS
  const strip = { ...sampler(2, { ...settings, levels: "0, 1" }), comfyClass: "SafelightStrip" }
  graph([node, strip], [[1, 1, 0, 2, 0]])
  assert.deepEqual(servedBy(node), { safety: null, run: RUN })
})

test("through reroutes, past muted and foreign nodes", () => {
  const node = schedule(1, 2, 3)
  const foreign = { id: 3, comfyClass: "Other", inputs: [{ name: "any" }], outputs: [] }
  const reroute = { id: 4, type: "Reroute", inputs: [{ link: 3 }], outputs: [{ links: [4] }] }
  const muted = { ...sampler(2, { ...SETTINGS, steps: 7 }), mode: 2 }
  graph([node, muted, foreign, reroute, sampler(5)], [[1, 1, 0, 2, 0], [2, 1, 0, 3, 0], [3, 1, 0, 4, 0], [4, 4, 0, 5, 0]])
  assert.equal(servedBy(node).run.steps, 20)
})

test("a value from a primitive is read, one from a node that computes is not guessed", () => {
  const inputs = [{ name: "schedule", link: 1 }, { name: "steps", link: 2, widget: { name: "steps" } }]
  const links = [[1, 1, 0, 2, 0], [2, 3, 0, 2, 1]]
  const given = { id: 3, type: "PrimitiveInt", inputs: [], widgets: widgets({ value: 12 }) }
  const computing = { ...given, type: "Computes" }
  for (const [source, run] of [[given, { ...RUN, steps: 12 }], [computing, null]]) {
    const node = schedule(1)
    graph([node, sampler(2, SETTINGS, inputs), source], links)
    assert.deepEqual(servedBy(node).run, run)
    assert.equal(servedBy(node).safety, SAFETY)
  }
})

test("a broken workflow, with links into nowhere and rings of reroutes, comes to an end", () => {
  const node = schedule(1, 9)
  node.inputs = [{ name: "curve", link: 4 }]
  const reroute = { id: 2, type: "Reroute", inputs: [{ link: 3 }], outputs: [{ links: [3] }] }
  graph([node, reroute], [[1, 1, 0, 2, 0], [3, 2, 0, 2, 0], [4, 2, 0, 1, 0]])
  assert.deepEqual(servedBy(node), { safety: null, run: null })
  assert.deepEqual(sourceOf(node, "curve"), { linked: true })
})

test("a ring of nodes that take and give a model comes to an end", () => {
  const node = schedule(1)
  const model = (id, comfyClass, links) => ({
    id, comfyClass, inputs: [{ name: "model" }], outputs: [{ type: "MODEL", links }], widgets: widgets({ safety: 1 })
  })
  graph([node, model(2, "SafelightModelPatch", [2]), model(3, "Other", [3])], [[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 3, 0, 2, 0]])
  assert.deepEqual(servedBy(node), { safety: 1, run: null })
})

test("a custom sampler's run is that of its sigmas", () => {
  const node = schedule(1)
  const inputs = [{ name: "schedule", link: 1 }, { name: "sigmas", link: 2 }, { name: "sampler", link: 3 }]
  const custom = sampler(2, { safety: 0.7 }, inputs)
  const sigmas = { id: 3, type: "BasicScheduler", inputs: [], outputs: [{ type: "SIGMAS", links: [2] }], widgets: widgets({ scheduler: "karras", steps: 12, denoise: 1 }) }
  const select = { id: 4, type: "KSamplerSelect", inputs: [], outputs: [{ type: "SAMPLER", links: [3] }], widgets: widgets({ sampler_name: "heun" }) }
  graph([node, { ...custom, comfyClass: "SafelightSamplerCustom" }, sigmas, select], [[1, 1, 0, 2, 0], [2, 3, 0, 2, 1], [3, 4, 0, 2, 2]])
  assert.deepEqual(servedBy(node), { safety: 0.7, run: { scheduler: "karras", steps: 12, denoise: 1, sampler_name: "heun" } })
})

test("what makes an input's value, through reroutes, and nothing that is not known", () => {
  const encode = { id: 1, type: "SafelightContextEncode", inputs: [], outputs: [{ links: [1, 2] }] }
  const reroute = { id: 2, type: "Reroute", inputs: [{ link: 1 }], outputs: [{ links: [3] }] }
  const node = { id: 3, inputs: [{ name: "safe", link: 3 }, { name: "positive", link: 2 }, { name: "negative", link: null }] }
  graph([encode, reroute, node], [[1, 1, 1, 2, 0], [2, 1, 0, 3, 1], [3, 2, 0, 3, 0]])
  assert.deepEqual(["safe", "positive"].map((name) => makerOf(node, name)), [{ node: encode, slot: 1 }, { node: encode, slot: 0 }])
  assert.deepEqual(["negative", "none"].map((name) => makerOf(node, name)), [null, null])
  encode.mode = 2
  assert.equal(makerOf(node, "safe"), null, "muted")
})
