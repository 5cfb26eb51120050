// Mouse and touch on the plot. Each gesture calls the editor's actions; one drag ends in one commit.

const TWICE = 500 // ms between the two taps of a double tap
const NEAR = { mouse: 5, touch: 24 } // px that a finger or a hand may tremble
const nearOf = (event) => NEAR[event.pointerType === "touch" ? "touch" : "mouse"]

/**
 * @param {ReturnType<import("./plot.js").createPlot>} plot
 * @param {object} actions of the editor: state(), select, add, move, remove, moveContext, commit, revert, point, menu
 */
export function listenToPointers(plot, actions) {
  const { element } = plot
  let drag = null
  let tap = { time: -Infinity, x: 0, y: 0 }

  const start = (event) => {
    // The middle button pans the canvas. No preventDefault: ComfyUI notices an edit by the mouseup that would be lost.
    if (event.button === 1) return
    event.stopPropagation()
    if (event.button !== 0 || drag) return
    const target = plot.hit(event)
    const { fixed, contextFixed } = actions.state()
    element.setPointerCapture(event.pointerId)
    drag = { id: event.pointerId, x: event.clientX, y: event.clientY, kind: "look", changed: false, moved: false }
    if (target.kind === "point" && !fixed) {
      actions.select(target.index)
      if (event.ctrlKey || event.metaKey) {
        actions.remove(target.index)
        actions.commit()
      } else {
        const [x, y] = actions.state().points[target.index]
        // The point keeps its place under the pointer.
        Object.assign(drag, { kind: "point", index: target.index, dp: x - target.p, dw: y - target.w })
      }
    } else if (target.kind === "context" && !contextFixed) {
      plot.focusContext()
      Object.assign(drag, { kind: "context", dp: actions.state().context - target.p })
    } else if (target.kind === "curve" && !fixed) {
      const index = actions.add(target.p)
      if (index !== null) Object.assign(drag, { kind: "point", index, dp: 0, dw: 0, changed: true })
    } else {
      element.focus({ preventScroll: true })
    }
    element.classList.toggle("dragging", drag.kind !== "look")
    actions.point(plot.place(event).p)
  }

  const move = (event) => {
    if (drag && event.pointerId !== drag.id) return
    if (drag) event.stopPropagation()
    const { p, w } = plot.place(event)
    if (drag && !drag.moved) {
      drag.moved = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > (event.pointerType === "touch" ? 6 : 2)
    }
    if (!drag) {
      const over = `over-${plot.hit(event).kind}`
      if (element.getAttribute("class") !== over) element.setAttribute("class", over)
    }
    if (drag?.moved && drag.kind !== "look") {
      drag.changed = true
      if (drag.kind === "point") actions.move(drag.index, p + drag.dp, w + drag.dw, p)
      else actions.moveContext(p + drag.dp, p)
    } else {
      actions.point(p)
    }
  }

  const end = (event) => {
    if (!drag || event.pointerId !== drag.id) return
    const { changed, moved, kind } = drag
    drag = null
    element.classList.remove("dragging")
    if (changed) actions.commit()
    if (!moved) countTap(event, kind)
    if (event.pointerType === "touch") actions.point(null)
  }

  // Not the browser's dblclick: it does not come for fingers everywhere.
  const countTap = (event, kind) => {
    const near = Math.hypot(event.clientX - tap.x, event.clientY - tap.y) < nearOf(event)
    const second = near && event.timeStamp - tap.time < TWICE
    tap = { time: second ? -Infinity : event.timeStamp, x: event.clientX, y: event.clientY }
    if (!second || kind !== "look" || actions.state().fixed) return
    const { p, w } = plot.place(event)
    if (actions.add(p, w) !== null) actions.commit()
  }

  const cancel = (event) => {
    if (!drag || event.pointerId !== drag.id) return
    if (drag.changed) actions.revert()
    drag = null
    element.classList.remove("dragging")
  }

  element.addEventListener("pointerdown", start)
  element.addEventListener("pointermove", move)
  element.addEventListener("pointerup", end)
  element.addEventListener("pointercancel", cancel)
  element.addEventListener("pointerleave", () => {
    if (!drag) actions.point(null)
  })
  // Keeps the focus where a gesture has put it; unlike on pointerdown, this loses no mouseup.
  element.addEventListener("mousedown", (event) => {
    if (event.button === 0) event.preventDefault()
  })
  element.addEventListener("dblclick", (event) => event.stopPropagation())
  element.addEventListener("contextmenu", (event) => {
    event.preventDefault()
    event.stopPropagation()
    const byKey = event.button !== 2 && event.pointerType !== "touch" && plot.focused() !== null
    const target = byKey ? { kind: "key" } : plot.hit(event)
    if (target.kind === "point" && !actions.state().fixed) actions.select(target.index)
    actions.menu({ x: event.clientX, y: event.clientY }, target)
  })
}
