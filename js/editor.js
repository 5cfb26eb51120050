// The editor of a weight curve as a host-free element: JSON in a text area. It knows nothing of ComfyUI.
// A curve is {"points": [[progress, height], ...], "interpolation": "linear" | "monotone_cubic" | "step"}.

/**
 * Reads what the artist typed.
 * @returns {{value: object|string, fault: string}} the curve object and "", or the text as it is and what is wrong with
 *   it. The text is passed on so that the Python side refuses it: a broken curve must never act as some other curve.
 */
export function readCurve(text) {
  let parsed
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    return { value: text, fault: text.trim() ? `Not valid JSON: ${error.message}` : "The curve is empty." }
  }
  // Never an array: in a prompt the host takes a bare list for a link.
  if (Array.isArray(parsed)) parsed = { points: parsed }
  if (parsed === null || typeof parsed !== "object") return { value: text, fault: "A curve is an object with points." }
  return { value: parsed, fault: faultOf(parsed) }
}

/** What is wrong with a curve object, "" if nothing is seen; Python has the last word. */
function faultOf({ points }) {
  if (!Array.isArray(points) || points.length < 2) return "A curve needs at least two points."
  const inside = (number) => typeof number === "number" && number >= 0 && number <= 1
  const wrong = points.findIndex((p) => !Array.isArray(p) || p.length !== 2 || !p.every(inside))
  return wrong < 0 ? "" : `Point ${wrong + 1} is not a pair of numbers from 0 to 1.`
}

/** One line for each point would be long: the points stand in one line, the rest below. */
export function writeCurve(value) {
  if (typeof value === "string") return value
  const lines = Object.entries(value).map(([key, entry]) => `  ${JSON.stringify(key)}: ${JSON.stringify(entry)}`)
  return `{\n${lines.join(",\n")}\n}`
}

/**
 * @param {object} initial the curve shown at first
 * @param {(value: object|string) => void} onEdit called after each edit by the artist
 * @returns {{element: HTMLElement, getValue: () => object|string, setValue: (value: unknown) => void}}
 */
export function createCurveEditor(initial, onEdit) {
  const element = document.createElement("div")
  element.style.cssText = "display:flex;flex-direction:column;width:100%;height:100%;box-sizing:border-box;gap:2px"
  const area = document.createElement("textarea")
  area.spellcheck = false
  area.setAttribute("aria-label", "Weight curve as JSON")
  area.style.cssText =
    "flex:1;min-height:60px;resize:none;box-sizing:border-box;font:11px monospace;padding:4px;border-radius:4px;" +
    "border:1px solid var(--border-color,#4e4e4e);background:var(--comfy-input-bg,#222);color:var(--input-text,#ddd)"
  const message = document.createElement("div")
  message.setAttribute("role", "alert")
  message.style.cssText = "color:var(--error-text,#ff6e6e);font:11px sans-serif;flex:none"
  element.append(area, message)

  let value = initial

  const show = (fault) => {
    message.textContent = fault
    area.style.outline = fault ? "1px solid var(--error-text,#ff6e6e)" : ""
    area.setAttribute("aria-invalid", String(Boolean(fault)))
  }

  const setValue = (given) => {
    if (given !== null && typeof given === "object" && "__value__" in given) given = given.__value__
    if (given === undefined || given === null) return // an older workflow without this value
    if (JSON.stringify(given) === JSON.stringify(value)) return // our own edit coming back: keep the artist's layout
    area.value = Array.isArray(given) ? writeCurve({ points: given }) : writeCurve(typeof given === "object" ? given : String(given))
    const read = readCurve(area.value)
    value = read.value
    show(read.fault)
  }

  area.value = writeCurve(initial)
  area.addEventListener("input", () => {
    const read = readCurve(area.value)
    value = read.value
    show(read.fault)
    onEdit(value)
  })
  // The canvas must not take typing for its shortcuts, nor a drag over the text for a drag of the node.
  for (const type of ["keydown", "keyup", "keypress", "copy", "cut", "paste", "pointerdown"]) {
    area.addEventListener(type, (event) => event.stopPropagation())
  }
  return { element, getValue: () => value, setValue }
}
