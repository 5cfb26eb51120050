// Which settings a node's result comes from, read from a workflow as the page saves it. Pure: no page, no host.
// Two workflows with the same answer gave the same report and verdict, the seed aside, which neither depends on.

const FROM_OUTSIDE = -10 // origin of a link at a subgraph's input side, in the page's format
const TO_OUTSIDE = -20 // target of a link at its output side
const SEED_INPUTS = ["seed", "noise_seed"]
const AFTER_GENERATE = ["fixed", "increment", "decrement", "randomize", "increment-wrap"]

/** Widget values without seeds: numbers that stand before a choice of what to do with them after a run. None are null. */
function withoutSeeds(values) {
  if (!Array.isArray(values)) return values ?? null
  if (!values.length) return null // a node without widgets has a list once an element of ours is mounted on it
  const follows = (i) => typeof values[i] === "number" && AFTER_GENERATE.includes(values[i + 1])
  return values.filter((_, i) => !follows(i) && !(i > 0 && follows(i - 1)))
}

/** Links are arrays in the root graph and objects in subgraphs. */
const read = (link) => Array.isArray(link)
  ? { id: link[0], from: link[1], slot: link[2], to: link[3], toSlot: link[4] }
  : { id: link.id, from: link.origin_id, slot: link.origin_slot, to: link.target_id, toSlot: link.target_slot }

const same = (a, b) => String(a) === String(b)

/**
 * @param {object} workflow as the page saves it
 * @param {string[]} path ids from the root graph through subgraph nodes to the node: ["12", "5"]
 * @returns {string} equal for two workflows in which the node and all that it depends on are set alike; "" where the
 *   workflow has no such node
 */
export function settingsBehind(workflow, path) {
  const definitions = new Map((workflow.definitions?.subgraphs ?? []).map((graph) => [graph.id, graph]))
  const facts = new Map()

  const levelsOf = (ids) => {
    let graph = workflow
    for (const id of ids) graph = definitions.get(graph?.nodes?.find((node) => same(node.id, id))?.type)
    return graph
  }

  const follow = (graph, outside, linkId) => {
    const link = graph.links?.map(read).find((entry) => same(entry.id, linkId))
    if (!link) return "nothing"
    if (same(link.from, FROM_OUTSIDE)) return followOut(graph, outside, link.slot)
    return followIn(graph, [...outside, link.from], link.slot)
  }

  /** What comes in through a subgraph's input: its node's own value of it, or what is linked there. */
  const followOut = (graph, outside, slot) => {
    const node = levelsOf(outside.slice(0, -1))?.nodes.find((entry) => same(entry.id, outside.at(-1)))
    const input = node?.inputs?.find((entry) => entry.name === graph.inputs?.[slot]?.name)
    facts.set(`${outside.join(":")} values`, withoutSeeds(node?.widgets_values))
    return input?.link == null ? "nothing" : follow(levelsOf(outside.slice(0, -1)), outside.slice(0, -1), input.link)
  }

  /** What a node gives at an output; in a subgraph's node, what the node inside gives. */
  const followIn = (graph, place, slot) => {
    const inside = definitions.get(graph.nodes.find((node) => same(node.id, place.at(-1)))?.type)
    if (!inside) {
      visit(place)
      return `${place.join(":")} ${slot}`
    }
    const link = inside.links?.map(read).find((entry) => same(entry.to, TO_OUTSIDE) && entry.toSlot === slot)
    return link ? follow(inside, place, link.id) : "nothing"
  }

  const visit = (place) => {
    const key = place.join(":")
    const graph = levelsOf(place.slice(0, -1))
    const node = graph?.nodes?.find((entry) => same(entry.id, place.at(-1)))
    if (facts.has(key) || !node) return
    const fact = { type: node.type, mode: node.mode ?? 0, values: withoutSeeds(node.widgets_values), links: {} }
    facts.set(key, fact)
    for (const input of node.inputs ?? []) {
      if (input.link == null || SEED_INPUTS.includes(input.name)) continue
      fact.links[input.name] = follow(graph, place.slice(0, -1), input.link)
    }
  }

  visit(path)
  return facts.size ? JSON.stringify([...facts]) : ""
}
