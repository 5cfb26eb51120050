// The panel that shows a schedule as JSON text, to be corrected, or to be copied where the clipboard is refused.
import { say } from "../words.js"

const KEYS = ["keydown", "keyup", "keypress", "copy", "cut", "paste", "pointerdown", "dblclick", "contextmenu"]

/**
 * @param {(text: string) => string} use takes the text; returns what is wrong with it, "" where it was taken
 * @param {() => void} onClose
 * @returns {{element: HTMLElement, open: (text: string, hint: string, takes: boolean) => void}}
 */
export function createTextPanel(use, onClose) {
  const element = document.createElement("div")
  element.className = "safelight-text"
  element.hidden = true
  const area = document.createElement("textarea")
  area.spellcheck = false
  area.setAttribute("aria-label", say("editor.text"))
  const message = document.createElement("span")
  message.setAttribute("role", "status")
  const button = (text, run) => {
    const made = document.createElement("button")
    made.type = "button"
    made.textContent = text
    made.addEventListener("click", run)
    return made
  }
  const close = () => {
    element.hidden = true
    onClose()
  }
  const tell = (text, isFault) => {
    message.textContent = message.title = text
    message.className = isFault ? "fault" : ""
  }
  const take = button(say("editor.use"), () => {
    const fault = use(area.value)
    if (fault) tell(fault, true)
    else close()
  })
  const row = document.createElement("div")
  row.append(message, take, button(say("editor.close"), close))
  element.append(area, row)
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close()
    if (event.key === "Enter" && event.ctrlKey && !take.hidden) take.click()
  })
  // The canvas must not take typing for its shortcuts, nor a drag over the text for a drag of the node.
  for (const type of KEYS) element.addEventListener(type, (event) => event.stopPropagation())

  const open = (text, hint, takes) => {
    element.hidden = false
    area.value = text
    area.readOnly = !takes
    take.hidden = !takes
    tell(hint, false)
    area.focus({ preventScroll: true })
    area.select()
  }
  return { element, open }
}
