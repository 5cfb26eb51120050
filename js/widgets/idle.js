// Inputs that do nothing as their node is set and linked: the page greys them out, and keeps their values. Their tooltips
// say when they act. It knows nodes and widgets, not the application.
import { chain } from "./chain.js"
import { dress } from "./dress.js"
import { sourceOf } from "../schedule/linked.js"

/** Whether the input may have one of these values; of one that comes over a link nothing may be known. */
const maybe = (input, ...values) => (node) => {
  const { value } = sourceOf(node, input)
  return value === undefined || values.includes(value)
}
const linked = (input) => (node) => sourceOf(node, input).linked
const unlinked = (input) => (node) => !linked(input)(node)

const ON_STATES = ["project", "subtract"] // methods of Context Encode that change the encoder's states, rather than words

/** The methods that Context Encode may come to: one, unless a link hides what decides it. */
function methodsOf(node) {
  const { value: method } = sourceOf(node, "method")
  if (method === undefined) return ["rewrite", ...ON_STATES]
  if (method !== "auto") return [method]
  const { value: typed } = sourceOf(node, "safe_prompt")
  if (typeof typed === "string" && typed.trim()) return ["typed"]
  return [linked("vector")(node) ? "subtract" : "rewrite", ...(typed === undefined ? ["typed"] : [])]
}
const changesStates = (node) => methodsOf(node).some((method) => ON_STATES.includes(method))
const changesWords = (node) => methodsOf(node).some((method) => !ON_STATES.includes(method))

/** Economy is refused beside a detector and with merge = values; where it is on, the artist has to be able to switch it off. */
const mayEconomize = (node) => !maybe("economy", "off")(node) || !(linked("detector")(node) || sourceOf(node, "merge").value === "values")

const GUIDED = { gate: linked("risk") }
const LOOKING = { ...GUIDED, economy: mayEconomize, at_least: linked("detector"), hide: linked("detector") }
const SAMPLER = { ...LOOKING, merge_at: maybe("merge", "separate") }
/** By node type and input: when it acts. */
const ACTS = {
  SafelightContextEncode: { strength: changesStates, stand_ins: changesWords },
  SafelightDetectors: { n: maybe("way", "at least n") },
  SafelightEasy: { width: unlinked("image"), height: unlinked("image"), denoise: linked("image"), hide: linked("detector") },
  SafelightGuider: GUIDED,
  SafelightKSampler: SAMPLER,
  SafelightKSamplerAdvanced: SAMPLER,
  SafelightModelPatch: GUIDED,
  SafelightRedact: { steps: maybe("form", "network") },
  SafelightSamplerCustom: LOOKING,
  SafelightSelective: { quantile: maybe("mode", "quantile"), threshold: maybe("mode", "soft threshold") },
  SafelightStrip: GUIDED
}

// The classic canvas dims all of them, Nodes 2.0 its choices alone: a number would be as bright as one that acts.
const DIMMED = `.lg-node-widget :is(${Object.keys(ACTS).map((type) => `[node-type="${type}"]`)}):has(:is(input, textarea):disabled) { opacity: .45; }`

const updates = new WeakMap() // by node

/** Greys out the inputs of a new node that do nothing, whatever it is set to and linked with from now on. */
export function followUse(node) {
  const acts = ACTS[node.comfyClass]
  if (!acts) return
  dress("safelight-idle-style", DIMMED)
  const update = () => {
    for (const widget of node.widgets) {
      if (!Object.hasOwn(acts, widget.name)) continue
      const idle = !acts[widget.name](node)
      if (Boolean(widget.disabled) === idle) continue
      widget.disabled = idle
      node.setDirtyCanvas?.(true, false)
    }
  }
  for (const widget of node.widgets) chain(widget, "callback", update)
  chain(node, "onConfigure", update)
  chain(node, "onConnectionsChange", update)
  updates.set(node, update)
  update()
}

/** Something in the workflow has changed, on which a linked value may depend. */
export const useChanged = (node) => updates.get(node)?.()
