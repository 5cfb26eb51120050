// The level's word beside the safety slider. It knows nodes and widgets, not the application.
import { chain } from "./chain.js"
import { LEVELS, levelOf } from "./levels.js"
import { say } from "../words.js"

const INPUT = "safety"
const BETWEEN = " · "
const HAIR = "\u200a" // the thinnest space, which pages don't collapse

/** The levels' words as wide as the widest of them: in Nodes 2.0 the slider would move while it is dragged. */
function wordsOfOneWidth(words) {
  if (!window.LiteGraph?.vueNodesMode) return words
  const pen = document.createElement("canvas").getContext("2d")
  pen.font = `100px ${getComputedStyle(document.body).fontFamily}` // large, so that rounding is small
  const width = (text) => pen.measureText(text).width
  const widest = Math.max(...words.map(width))
  return words.map((word) => word + HAIR.repeat(Math.round((widest - width(word)) / width(HAIR))))
}

/**
 * Keeps the level's word in the label of a node's safety widget. A widget's label is shown and never saved; a name that
 * the artist gave it, which is saved with the input, stays as it is.
 */
export function followSafety(node) {
  const widget = node.widgets?.find((entry) => entry.name === INPUT)
  if (!widget) return
  const words = wordsOfOneWidth(LEVELS.map((level) => say(`level.${level}`)))
  const wordOf = Object.fromEntries(LEVELS.map((level, i) => [level, words[i]]))
  const named = (label) => {
    const at = label?.lastIndexOf(BETWEEN) ?? -1
    const word = at < 0 ? "" : label.slice(at + BETWEEN.length).replaceAll(HAIR, "")
    return LEVELS.some((level) => word === say(`level.${level}`)) ? label.slice(0, at) : label
  }
  let plain = widget.label // the page's name for it, or the artist's
  let worded

  const update = () => {
    const input = node.inputs?.find((entry) => entry.widget?.name === INPUT)
    if (widget.label !== worded) {
      // Somebody named it. The page's window for that offers the label with the word; what is kept is the name.
      plain = named(widget.label)
      if (input?.label) input.label = named(input.label)
    }
    const level = input?.link == null ? levelOf(widget.value) : "" // a linked value is not known here
    const name = input?.label || plain || INPUT // older pages forget to show a name that a workflow was saved with
    worded = level ? name + BETWEEN + wordOf[level] : input?.label || plain
    if (widget.label !== worded) widget.label = worded
  }
  chain(widget, "callback", update)
  chain(node, "onConfigure", update)
  chain(node, "onConnectionsChange", update)
  chain(node, "onDrawForeground", update) // values set without a callback; the classic canvas draws after each change
  update()
}
