// Workflows that earlier pages saved: there the schedule's `curve` was an object of the host's type CURVE, to which a core
// Curve Editor was linked. Now it is text, and the link goes to an input of its own. The value itself is read by
// readCurve. This knows the shape of saved workflows, and no page.

const TYPE = "SafelightWeightSchedule"
const INSIDE_INPUT = -10 // what a link comes from that a subgraph hands in

/** @param {object} workflow as saved, about to be opened: changed where a part of it is of the earlier form */
export function fromEarlier(workflow) {
  const graphs = [workflow, ...(workflow.definitions?.subgraphs ?? [])]
  const placed = graphs.flatMap(({ nodes }) => nodes ?? [])
  for (const graph of graphs) {
    for (const node of graph.nodes ?? []) {
      const curve = node.type === TYPE && node.inputs?.find(({ name, type }) => name === "curve" && type === "CURVE")
      if (!curve) continue
      const shown = curve.widget && (curve.link == null ? [] : shownOutside(graph, curve.link, placed))
      if (shown) {
        for (const end of [curve, ...shown]) end.type = "STRING"
      } else {
        curve.name = "curve_editor"
        delete curve.widget
      }
    }
  }
}

/** The ends of a link by which a curve's widget is shown on the subgraph's node; null where it is another link. */
function shownOutside(graph, id, placed) {
  const link = graph.links?.find?.((each) => each.id === id)
  const slot = Number(link?.origin_id) === INSIDE_INPUT && graph.inputs?.[link.origin_slot]
  if (!slot) return null
  const outside = placed.filter(({ type }) => type === graph.id).flatMap(({ inputs }) => inputs ?? [])
  const ends = outside.filter(({ name }) => name === slot.name)
  return ends.some((input) => input.link != null) ? null : [link, slot, ...ends]
}
