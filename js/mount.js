// An element at the foot of a node that is shown and never saved. It knows nodes and widgets, not the application.

const NAME = "safelight_feedback"
const MARGIN = 6 // px around the element

/**
 * Puts an element below a node's widgets. The node grows by the element's height and shrinks by it again; the saved
 * workflow has neither the widget nor that height.
 * @param {object} node the page's node
 * @param {HTMLElement} element as high as its content asks for
 * @returns {() => void} takes it away again
 */
export function mount(node, element) {
  let height = 0
  const frame = document.createElement("div") // the page gives it a height; the element inside keeps its own
  frame.append(element)
  const widget = node.addDOMWidget(NAME, "SAFELIGHT_FEEDBACK", frame, {
    serialize: false, // not in prompts
    margin: MARGIN,
    getValue: () => "",
    setValue: () => {},
    getMinHeight: () => height,
    getMaxHeight: () => height
  })
  widget.serialize = false // not in workflows

  const grow = (to) => {
    if (to === height) return
    const [width, before] = node.size
    const by = to - height
    height = to
    node.setSize([width, before + by])
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
    if (data.size) data.size = [data.size[0], data.size[1] - height]
  }
  node.onSerialize = withoutIt

  return () => {
    observer.disconnect()
    if (node.onSerialize === withoutIt) node.onSerialize = onSerialize
    const at = node.widgets.indexOf(widget)
    if (at >= 0) node.removeWidget(widget)
    frame.remove()
    grow(0)
  }
}
