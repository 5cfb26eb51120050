// The safety sliders of the nodes that have a strip's prompts, and a sampler for a strip that has none. It knows the shape
// of the page's graph, not the application.
import { inputOf, isFromOutside, linkOf, makerOf, sourceOf, widgetOf } from "../schedule/linked.js"

const SAMPLER = "SafelightKSampler"
const GAP = 60 // graph units between the strip and a sampler made for it; a node's title is 30 of them

const nodesOf = (graph) => graph.nodes ?? graph._nodes
const isSame = (a, b) => a !== null && a.node === b?.node && a.slot === b?.slot

/** Beside a node, under what stands there already. */
function placeBeside({ graph, pos, size }, [width, height]) {
  const x = pos[0] + size[0] + GAP
  let y = pos[1]
  const inTheWay = (node) => node.pos[0] < x + width && x < node.pos[0] + node.size[0] &&
    node.pos[1] - GAP < y + height && y < node.pos[1] + node.size[1] + GAP
  for (let node; (node = nodesOf(graph).find(inTheWay)); ) y = node.pos[1] + node.size[1] + GAP
  return [x, y]
}

/** Links a new node as another one in its graph is linked, input by input of the same name. */
function linkAs(pattern, node) {
  const { graph } = node
  for (const { name, link: id } of pattern.inputs) {
    const slot = node.inputs.findIndex((input) => input.name === name)
    const link = slot < 0 || id == null ? null : linkOf(graph, id)
    if (!link) continue
    if (isFromOutside(link)) graph.inputs[link.origin_slot].connect(node.inputs[slot], node)
    else graph.getNodeById(link.origin_id).connect(link.origin_slot, node, slot)
  }
}

/**
 * @param {object} strip its node
 * @param {() => Iterable<{node: object}>} placed every node of the workflow
 * @param {(act: () => void) => void} edited does what is one step of the page's history
 */
export function createSliders(strip, placed, edited) {
  const hasItsPrompts = (node) => {
    const names = inputOf(node, "positive") ? ["positive", "safe"] : ["safe"] // a model patch has no positive
    return names.every((name) => isSame(makerOf(node, name), makerOf(strip, name)))
  }
  const served = () => [...new Set([...placed()].map(({ node }) => node))].filter((node) =>
    node.comfyClass?.startsWith("Safelight") && widgetOf(node, "safety") && hasItsPrompts(node))

  return {
    /** Where the sliders are, those whose place is known. @returns {number[]} */
    places: () => served().map((node) => sourceOf(node, "safety").value).filter((value) => typeof value === "number"),
    /** Moves them. @returns {{set: string[], linked: string[]}} the nodes' titles; linked: those that a link decides */
    move(level) {
      const told = { set: [], linked: [] }
      edited(() => {
        for (const node of served()) {
          const { widget } = sourceOf(node, "safety")
          told[widget ? "set" : "linked"].push(node.title)
          if (!widget) continue
          widget.value = level
          widget.callback?.(level)
        }
      })
      return told
    },
    /** Makes a sampler that gives the strip's frame at a level, of the run with this seed. */
    add(level, seed) {
      edited(() => {
        const node = window.LiteGraph.createNode(SAMPLER)
        node.pos = placeBeside(strip, node.size)
        strip.graph.add(node)
        linkAs(strip, node)
        const values = Object.fromEntries(strip.widgets.map((widget) => [widget.name, widget.value]))
        Object.assign(values, { safety: level, seed, control_after_generate: "fixed" })
        for (const widget of node.widgets) if (widget.name in values) widget.value = values[widget.name]
      })
    }
  }
}
