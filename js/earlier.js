// Workflows that earlier pages saved. There the schedule's `curve` was an object of the host's type CURVE, to which a core
// Curve Editor was linked; now it is text, and the link goes to an input of its own. The node's own value is read by
// readCurve. And there the samplers' slider stood behind the stock inputs, where it is now the first. This knows the shape
// of saved workflows, and no page.

const TYPE = "SafelightWeightSchedule"
// Where the slider stood among the values, and where the seed's own widget, which is a word, did; now it is one further on.
const SLIDERS = {
  SafelightKSampler: { slider: 7, control: 1 },
  SafelightKSamplerAdvanced: { slider: 10, control: 2 },
  SafelightStrip: { slider: 7, control: 1 }
}
const CONTROLS = ["fixed", "increment", "decrement", "randomize"]
const INSIDE_INPUT = -10 // what a link comes from that a subgraph hands in

/** @param {object} workflow as saved, about to be opened: changed where a part of it is of the earlier form */
export function fromEarlier(workflow) {
  const graphs = [workflow, ...(workflow.definitions?.subgraphs ?? [])]
  const placed = graphs.flatMap(({ nodes }) => nodes ?? [])
  for (const graph of graphs) {
    for (const node of graph.nodes ?? []) {
      moveSlider(node)
      const curve = node.type === TYPE && node.inputs?.find(({ name, type }) => name === "curve" && type === "CURVE")
      if (!curve) continue
      const isText = curve.widget && (curve.link == null || showAsText(graph, curve.link, placed))
      if (isText) {
        curve.type = "STRING"
      } else {
        curve.name = "curve_editor"
        delete curve.widget
      }
    }
  }
}

function moveSlider({ type, widgets_values: values }) {
  const stood = SLIDERS[type]
  if (stood && CONTROLS.includes(values?.[stood.control])) values.unshift(...values.splice(stood.slider, 1))
}

/** Makes text of a curve that is shown on the subgraph's nodes, end to end; false where the link hands in another. */
function showAsText(graph, id, placed) {
  const link = graph.links?.find?.((each) => each.id === id)
  const slot = Number(link?.origin_id) === INSIDE_INPUT && graph.inputs?.[link.origin_slot]
  if (!slot) return false
  const shown = placed
    .filter(({ type }) => type === graph.id)
    .map((node) => ({ node, input: node.inputs?.find(({ name }) => name === slot.name) }))
    .filter(({ input }) => input)
  if (shown.some(({ input }) => input.link != null)) return false
  for (const end of [link, slot, ...shown.map(({ input }) => input)]) end.type = "STRING"
  for (const { node, input } of shown) {
    const place = node.inputs.filter(({ widget }) => widget).indexOf(input)
    writeText(node.widgets_values, place)
    writeText(node.widgets_values_named, input.name)
  }
  return true
}

function writeText(values, key) {
  if (values?.[key] && typeof values[key] === "object") values[key] = JSON.stringify(values[key])
}
