// The curve editor's own context menu. It hangs on the page's body: inside a node it would be cut off.

let close = () => {}

/**
 * Opens a menu at a place on the screen, closing the one that is open.
 * @param {{x: number, y: number}} at client px
 * @param {({label: string, run: () => void, disabled?: boolean, checked?: boolean}|null)[]} items null draws a line;
 *   `checked` makes the item one of several to choose from
 * @param {HTMLElement|SVGElement} opener gets the focus back, or what had it inside
 */
export function openMenu(at, items, opener) {
  close()
  const menu = document.createElement("div")
  menu.className = "safelight-menu"
  menu.setAttribute("role", "menu")
  for (const item of items) {
    if (!item) {
      menu.append(document.createElement("hr"))
      continue
    }
    const button = document.createElement("button")
    button.type = "button"
    button.textContent = item.label
    button.disabled = Boolean(item.disabled)
    button.tabIndex = -1
    button.setAttribute("role", item.checked === undefined ? "menuitem" : "menuitemradio")
    if (item.checked !== undefined) button.setAttribute("aria-checked", String(item.checked))
    button.addEventListener("click", () => {
      close()
      item.run()
    })
    button.addEventListener("pointerenter", () => button.focus({ preventScroll: true }))
    menu.append(button)
  }

  const outside = (event) => {
    if (!menu.contains(event.target)) close()
  }
  const keys = (event) => {
    event.stopPropagation()
    const enabled = [...menu.querySelectorAll("button:enabled")]
    const here = enabled.indexOf(document.activeElement)
    const go = { ArrowDown: here + 1, ArrowUp: here < 0 ? -1 : here - 1, Home: 0, End: -1 }[event.key]
    if (go !== undefined) enabled.at(go % enabled.length)?.focus()
    else if (event.key === "Escape" || event.key === "Tab") close()
    else return
    event.preventDefault()
  }
  const back = opener.contains(document.activeElement) ? document.activeElement : opener
  const shut = () => {
    close = () => {}
    document.removeEventListener("pointerdown", outside, true)
    document.removeEventListener("wheel", outside, true)
    window.removeEventListener("blur", shut)
    menu.remove()
    if (document.activeElement === document.body) back.focus({ preventScroll: true })
  }
  close = shut
  menu.addEventListener("keydown", keys)
  menu.addEventListener("contextmenu", (event) => event.preventDefault())
  document.addEventListener("pointerdown", outside, true)
  document.addEventListener("wheel", outside, true)
  window.addEventListener("blur", shut)

  document.body.append(menu)
  const { width, height } = menu.getBoundingClientRect()
  menu.style.left = `${Math.max(4, Math.min(at.x, window.innerWidth - width - 4))}px`
  menu.style.top = `${Math.max(4, Math.min(at.y, window.innerHeight - height - 4))}px`
  menu.querySelector("button:enabled")?.focus({ preventScroll: true })
}
