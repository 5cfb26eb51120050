// Where a node's values come from, and which sampler it serves: walks over nodes and links, through reroutes and the
// borders of subgraphs. It knows the shape of the page's graph, not the application, and changes nothing.

// The ids that the page gives to a subgraph's own inputs and outputs, as numbers or, since 1.58, as text.
const INSIDE_INPUT = -10
const INSIDE_OUTPUT = -20
const SOURCES = /^(Primitive(Node|Int|Float|Boolean|String|StringMultiline)|CurveEditor)$/ // hand on what their widget says
const MUTED = 2
const BYPASSED = 4
const FAR = 30 // borders and reroutes that a walk passes before it gives up: a broken workflow may be a ring

export const linkOf = (graph, id) => graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id]
export const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name)
export const inputOf = (node, name) => node.inputs?.find((input) => input.name === name || input.widget?.name === name)
const acts = (node) => node && node.mode !== MUTED && node.mode !== BYPASSED

/** The nodes that show a graph which is a subgraph, anywhere in the workflow. */
function hostsOf(graph) {
  const found = []
  const search = (within, depth) => {
    for (const node of within?.nodes ?? within?._nodes ?? []) {
      if (node.subgraph === graph) found.push(node)
      if (node.subgraph && depth < FAR) search(node.subgraph, depth + 1)
    }
  }
  search(graph?.rootGraph ?? graph, 0)
  return found
}

/** The node and output that a link comes from, behind reroutes; {host, input} where it comes from a subgraph's input. */
function originOf(graph, id, far = 0) {
  const link = linkOf(graph, id)
  if (!link || far > FAR) return null
  if (isFromOutside(link)) {
    const hosts = hostsOf(graph)
    // Several nodes of one subgraph may each give another value.
    return hosts.length === 1 ? { host: hosts[0], input: hosts[0].inputs[link.origin_slot] } : null
  }
  const node = graph.getNodeById(link.origin_id)
  if (!acts(node)) return null
  if (node.type === "Reroute") return originOf(graph, node.inputs[0]?.link, far + 1)
  return { node, slot: link.origin_slot }
}

export const isFromOutside = (link) => Number(link.origin_id) === INSIDE_INPUT

/** The node and output that an input's value comes from, in whichever graph; null where that is nothing or not known. */
export function makerOf(node, name, far = 0) {
  const link = inputOf(node, name)?.link
  const origin = link == null || far > FAR ? null : originOf(node.graph, link)
  return origin?.host ? origin.input && makerOf(origin.host, origin.input.name, far + 1) : origin
}

/**
 * What decides the value of a node's input.
 * @returns {{widget?: object, value?: unknown, linked: boolean}} the widget to be edited, the node's own or the one that
 *   it is shown as on a subgraph's node; or linked, with the value where the other end is known to hand it on
 */
export function sourceOf(node, name, far = 0) {
  const input = inputOf(node, name)
  if (input?.link == null) {
    const widget = widgetOf(node, name)
    return { widget, value: widget?.value, linked: false }
  }
  const origin = far > FAR ? null : originOf(node.graph, input.link)
  if (origin?.host && origin.input) {
    const outside = sourceOf(origin.host, origin.input.name, far + 1)
    return outside.widget || outside.linked ? outside : { linked: true }
  }
  if (origin?.node && SOURCES.test(origin.node.type)) {
    const widget = origin.node.widgets?.[0]
    const again = widget && inputOf(origin.node, widget.name)?.link != null
    return { linked: true, value: again ? sourceOf(origin.node, widget.name, far + 1).value : widget?.value }
  }
  return { linked: true }
}

/** Whether something is linked to an input. */
export const isLinked = (node, name) => inputOf(node, name)?.link != null

/** The type of the node that an input's link comes from, "" where that is not known. */
export function typeBehind(node, name, far = 0) {
  const origin = isLinked(node, name) && far < FAR ? originOf(node.graph, inputOf(node, name).link) : null
  if (origin?.host) return origin.input ? typeBehind(origin.host, origin.input.name, far + 1) : ""
  return origin?.node?.comfyClass ?? origin?.node?.type ?? ""
}

/** The nodes that an output goes to, with the input's name, in the order of the links. */
function* targetsOf(graph, links, far = 0) {
  for (const id of far > FAR ? [] : (links ?? [])) {
    const link = linkOf(graph, id)
    if (!link) continue
    if (Number(link.target_id) === INSIDE_OUTPUT) {
      for (const host of hostsOf(graph)) yield* targetsOf(host.graph, host.outputs[link.target_slot]?.links, far + 1)
      continue
    }
    const node = graph.getNodeById(link.target_id)
    if (!acts(node)) continue
    if (node.type === "Reroute") yield* targetsOf(graph, node.outputs[0]?.links, far + 1)
    else if (node.subgraph) yield* targetsOf(node.subgraph, node.subgraph.inputs[link.target_slot]?.linkIds, far + 1)
    else yield { node, input: node.inputs[link.target_slot]?.name }
  }
}

const outputsOf = (node, type) => (node.outputs ?? []).filter((out) => out.type === type).flatMap((out) => out.links ?? [])

const RUN = ["steps", "scheduler", "sampler_name", "denoise", "start_at_step", "end_at_step", "return_with_leftover_noise"]
const NEEDED = ["steps", "scheduler"]

/** What a sampler node says of its run, null where a link hides a part of it. */
function runOf(node, names = RUN) {
  const run = {}
  for (const name of names.filter((each) => widgetOf(node, each) || inputOf(node, each))) {
    const { value } = sourceOf(node, name)
    if (value === undefined) return null
    run[name] = value
  }
  return NEEDED.every((name) => name in run) ? run : null
}

/** The first sampler, with steps and a scheduler of its own, that a model goes to, through whatever else takes models. */
function samplerBehind(node, seen = new Set()) {
  if (seen.has(node)) return null
  seen.add(node)
  for (const { node: next } of targetsOf(node.graph, outputsOf(node, "MODEL"))) {
    const found = NEEDED.every((name) => widgetOf(next, name)) && outputsOf(next, "SIGMAS").length === 0 ? next : null
    const sampler = found ?? samplerBehind(next, seen)
    if (sampler) return sampler
  }
  return null
}

/** The run of a custom sampler: its sigmas' scheduler, its sampler's name. */
function customRun(node) {
  const before = (name) => originOf(node.graph, inputOf(node, name)?.link)?.node
  const [sigmas, sampler] = [before("sigmas"), before("sampler")]
  const run = sigmas && runOf(sigmas, ["steps", "scheduler", "denoise"])
  if (!run) return null
  const name = sampler && widgetOf(sampler, "sampler_name") && sourceOf(sampler, "sampler_name").value
  return name ? { ...run, sampler_name: name } : run
}

/** The run of the first custom sampler that takes a guider and has one. */
function guidedRun(guider) {
  for (const { node } of targetsOf(guider.graph, outputsOf(guider, "GUIDER"))) {
    const run = customRun(node)
    if (run) return run
  }
  return null
}

const RUNS = {
  SafelightKSampler: runOf,
  SafelightKSamplerAdvanced: runOf,
  SafelightStrip: runOf,
  SafelightSamplerCustom: customRun,
  SafelightGuider: guidedRun,
  SafelightModelPatch: (node) => {
    const sampler = samplerBehind(node)
    return sampler && runOf(sampler)
  }
}

/**
 * The slider and the run of the first node of ours that a schedule node's output goes to.
 * @returns {{safety: ?number, run: ?object}} null for what is not there or comes from a link that hides it; the run's
 *   keys are the inputs of a KSampler (Advanced)
 */
export function servedBy(node) {
  for (const { node: target } of targetsOf(node.graph, outputsOf(node, "SAFELIGHT_SCHEDULE"))) {
    const read = RUNS[target.comfyClass ?? target.type]
    if (!read) continue
    const { value } = sourceOf(target, "safety")
    return { safety: typeof value === "number" ? value : null, run: read(target) }
  }
  return { safety: null, run: null }
}
