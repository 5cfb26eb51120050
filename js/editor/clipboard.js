// Copy and paste of a schedule as text, by the editor's buttons and by the keyboard while it has the focus.

/**
 * Answers the browser's own copy, cut and paste while the focus is in `element`: they need no permission and no secure
 * page. Caught on the document before ComfyUI's listeners there, which would copy nodes.
 * @param {HTMLElement} element
 * @param {{copy: () => string, paste: (text: string) => void}} actions
 */
export function listenToClipboard(element, { copy, paste }) {
  const take = (event) => {
    const active = document.activeElement
    if (!element.contains(active) || active.tagName === "TEXTAREA" || !event.clipboardData) return
    event.preventDefault()
    event.stopImmediatePropagation()
    if (event.type === "paste") paste(event.clipboardData.getData("text/plain"))
    else event.clipboardData.setData("text/plain", copy())
  }
  const types = ["copy", "cut", "paste"]
  element.addEventListener("focusin", () => types.forEach((type) => document.addEventListener(type, take, true)))
  element.addEventListener("focusout", () => types.forEach((type) => document.removeEventListener(type, take, true)))
}

/** Puts text on the clipboard. Returns whether the browser let us. */
export async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false // refused, or no secure page
  }
}

/** The clipboard's text, or null where the browser does not let us. */
export async function readClipboard() {
  try {
    return await navigator.clipboard.readText()
  } catch {
    return null
  }
}
