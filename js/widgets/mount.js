// An element at the foot of a node that is shown and never saved. It knows nodes and widgets, not the application.
import { holdPlace } from "./place.js"

const FEEDBACK = "safelight_feedback"
const MARGIN = 6 // px around the element

/**
 * Puts an element below a node's widgets. The node grows by the element's height and shrinks by it again; the saved
 * workflow has neither the widget nor that height.
 * @param {object} node the page's node
 * @param {HTMLElement} element as high as its content asks for
 * @param {string} [name] the widget's: Nodes 2.0 goes on showing the element of one that is followed by another of its name
 * @returns {{change: (draw: () => void) => void, remove: () => void}} `change` draws into the element
 */
export function mount(node, element, name = FEEDBACK) {
  let height = 0
  let settled = node.size[1] // the node's height when this last had a say in it
  const frame = document.createElement("div") // the page gives it a height; the element inside keeps its own
  frame.append(element)
  const widget = node.addDOMWidget(name, "SAFELIGHT_FEEDBACK", frame, {
    serialize: false, // not in prompts
    hideInPanel: true, // the page's side panel would take the element out of the node
    margin: MARGIN,
    getValue: () => "",
    setValue: () => {},
    getMinHeight: () => height,
    getMaxHeight: () => height
  })
  widget.serialize = false // not in workflows
  holdPlace(node, name, frame)

  const grow = (to) => {
    const by = to - height
    if (!by) return
    height = to
    // In Nodes 2.0 a node grows with its content by itself, on some pages before this is asked.
    const grown = node.size[1] - settled
    settled = (by > 0 && grown > 0 && grown <= by + 1 ? settled : node.size[1]) + by
    node.setSize([node.size[0], settled])
    node.graph?.setDirtyCanvas?.(true, true)
  }
  const measure = () => {
    if (element.offsetHeight) grow(element.offsetHeight + 2 * MARGIN) // 0 while the page hides it
  }
  const observer = new ResizeObserver(measure)
  observer.observe(element)

  const { onSerialize } = node
  const withoutIt = function (data) {
    onSerialize?.apply(this, arguments)
    if (data.size) data.size = [data.size[0], height ? data.size[1] - height : settled]
  }
  node.onSerialize = withoutIt

  return {
    change(draw) {
      if (height) settled = node.size[1]
      draw()
      measure()
    },
    remove() {
      observer.disconnect()
      if (node.onSerialize === withoutIt) node.onSerialize = onSerialize
      if (node.widgets.includes(widget)) node.removeWidget(widget)
      frame.remove()
      grow(0)
    }
  }
}
