// The level's word beside the safety slider. It knows nodes and widgets, not the application.
import { chain } from "./chain.js"
import { LEVELS, levelOf } from "./levels.js"
import { say } from "../words.js"

const INPUT = "safety"
const BETWEEN = " · "

/**
 * Keeps the level's word in the label of a node's safety widget. A widget's label is shown and never saved; a name that
 * the artist gave it, which is saved with the input, stays as it is.
 */
export function followSafety(node) {
  const widget = node.widgets?.find((entry) => entry.name === INPUT)
  if (!widget) return
  const endings = LEVELS.map((level) => BETWEEN + say(`level.${level}`))
  const named = (label) => {
    const ending = endings.find((end) => label?.endsWith(end))
    return ending ? label.slice(0, -ending.length) : label
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
    worded = level ? `${name}${BETWEEN}${say(`level.${level}`)}` : input?.label || plain
    if (widget.label !== worded) widget.label = worded
  }
  chain(widget, "callback", update)
  chain(node, "onConfigure", update)
  chain(node, "onConnectionsChange", update)
  chain(node, "onDrawForeground", update) // values set without a callback; the classic canvas draws after each change
  update()
}
