// The wheel over an element of ours, on the classic canvas, where the page does not see it. It knows no application.

/**
 * Hands the wheel on, unless something under the pointer scrolls.
 * @param {HTMLElement} element
 * @param {(event: WheelEvent) => void} zoom what the page does with it
 */
export function zoomThrough(element, zoom) {
  element.addEventListener("wheel", (event) => {
    for (let at = event.target; at !== element.parentElement; at = at.parentElement) {
      if (at.scrollHeight > at.clientHeight && /auto|scroll/.test(getComputedStyle(at).overflowY)) return
    }
    zoom(event)
  })
}
