// Advanced inputs folded away in the classic canvas; Nodes 2.0 does that by itself. It knows nodes and widgets alone.
import { say } from "../words.js"

const NAME = "safelight_advanced"
const folds = new WeakMap() // by node: folds or unfolds it as the page's mode asks for

/** Gives a new node a button, saved nowhere, that shows and hides its advanced inputs. An old page, which leaves room for
 * hidden widgets, shows them all. */
export function foldAdvanced(node) {
  const folded = node.widgets.filter((widget) => widget.options?.advanced)
  if (!node.getLayoutWidgets || !folded.length) return
  let open = false
  const hide = (hidden) => {
    for (const widget of folded) widget.hidden = hidden
  }
  const fold = () => {
    hide(!open)
    node.setSize([node.size[0], node.computeSize()[1]])
    if (window.LiteGraph.vueNodesMode) hide(false)
    node.graph?.setDirtyCanvas(true, true)
  }
  const button = node.addWidget("button", NAME, null, () => {
    open = !open
    fold()
  }, { serialize: false, canvasOnly: true })
  button.label = say("feedback.advanced")
  button.serialize = false
  folds.set(node, fold)
  fold()
}

/** The page went from one mode to the other. */
export const foldAgain = (node) => folds.get(node)?.()
