// The keyboard on the plot: every point and the context's edge is a slider in the page's tab order.

const FINE = 0.01
const COARSE = 0.1
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }

/**
 * @param {ReturnType<import("./plot.js").createPlot>} plot
 * @param {object} actions of the editor: state(), select, addAfter, move, remove, moveContext, commit
 */
export function listenToKeys(plot, actions) {
  const { element } = plot
  let held = false // whether a held key's repeats wait for their commit

  /** @returns {boolean|undefined} whether the key means something here */
  const press = (key, step) => {
    const at = plot.focused()
    const { points, context, fixed, contextFixed } = actions.state()
    const [dx, dy] = ARROWS[key] ?? []
    if (dx !== undefined && at === "context") {
      if (!contextFixed) actions.moveContext(context + (dx + dy) * step)
    } else if (dx !== undefined && at !== null) {
      if (!fixed) actions.move(at, points[at][0] + dx * step, points[at][1] + dy * step)
    } else if (key === "Delete" || key === "Backspace") {
      if (!fixed && at !== null && at !== "context") actions.remove(at)
    } else if (key === "Enter" || key === "Insert") {
      if (!fixed) actions.addAfter(at === "context" ? null : at)
    } else if (key === "Home") {
      actions.select(0)
    } else if (key === "End") {
      actions.select(points.length - 1)
    } else if (key === "PageUp" || key === "PageDown") {
      const next = (at === "context" || at === null ? -1 : at) + (key === "PageDown" ? 1 : -1)
      actions.select(Math.min(Math.max(next, 0), points.length - 1))
    } else {
      return false
    }
    return true
  }

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return // undo, queue and the like are the host's
    if (!press(event.key, event.shiftKey ? COARSE : FINE)) return
    event.preventDefault()
    event.stopPropagation() // Delete must not delete the node
    held = event.repeat
    if (!held) actions.commit()
  })
  element.addEventListener("keyup", () => {
    if (held) actions.commit()
    held = false
  })
}
