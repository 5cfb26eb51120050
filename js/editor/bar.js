// The row of buttons above the plot.
import { INTERPOLATIONS } from "../schedule/curve.js"
import { say } from "../words.js"

const ICONS = {
  linear: "M1 12L6 4L9 8L13 2",
  monotone_cubic: "M1 12C5 12 5 3 8 3S11 6 13 2",
  step: "M1 12H5V7H9V3H13",
  copy: "M5 4.5V2h7v8H9.5M2 4.5h7.5V12.5H2z",
  paste: "M4.5 3H2.5v9.5h9V3H9.5M5 1.5h4v3H5z",
  reset: "M3 5.5A5 5 0 1 1 2.2 8.5M2.5 2v3.7h3.7",
  more: "M2.5 7h.01M7 7h.01M11.5 7h.01"
}

/**
 * @param {object} actions of the editor: interpolate(name), copy(), paste(), reset(), menu(at, target)
 * @returns {{element: HTMLElement, update: (interpolation: string, fixed: boolean, empty: boolean) => void}}
 */
export function createBar(actions) {
  const element = document.createElement("div")
  element.className = "safelight-bar"
  const button = (name, title, run) => {
    const made = document.createElement("button")
    made.type = "button"
    made.title = title
    made.setAttribute("aria-label", title)
    made.innerHTML = `<svg viewBox="0 0 14 14" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`
    made.addEventListener("click", run)
    return made
  }
  const choices = document.createElement("div")
  choices.setAttribute("role", "radiogroup")
  choices.setAttribute("aria-label", say("editor.between"))
  const modes = INTERPOLATIONS.map((name) => {
    const made = button(name, say(`editor.${name}`), () => actions.interpolate(name))
    made.setAttribute("role", "radio")
    return made
  })
  choices.append(...modes)
  choices.addEventListener("keydown", (event) => {
    const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    const here = modes.indexOf(document.activeElement)
    if (!turn || here < 0) return
    event.preventDefault()
    event.stopPropagation()
    const next = modes[(here + turn + modes.length) % modes.length]
    next.click()
    next.focus()
  })
  const gap = document.createElement("span")
  gap.className = "gap"
  const paste = button("paste", say("editor.pasteSchedule"), () => actions.paste())
  const reset = button("reset", say("editor.resetSchedule"), () => actions.reset())
  const more = button("more", say("editor.more"), () => {
    const { left, bottom } = more.getBoundingClientRect()
    actions.menu({ x: left, y: bottom }, { kind: "key" })
  })
  more.setAttribute("aria-haspopup", "menu")
  more.querySelector("svg").style.strokeWidth = "2.2"
  element.append(choices, gap, button("copy", say("editor.copySchedule"), () => actions.copy()), paste, reset, more)
  for (const type of ["pointerdown", "dblclick", "contextmenu"]) {
    element.addEventListener(type, (event) => event.button !== 1 && event.stopPropagation())
  }
  // A button's own keys must not reach the canvas.
  element.addEventListener("keydown", (event) => {
    if (["Enter", " ", "Delete", "Backspace"].includes(event.key)) event.stopPropagation()
  })

  let drawn = ""
  const update = (interpolation, fixed, empty) => {
    const now = `${interpolation} ${fixed} ${empty}`
    if (now === drawn) return
    drawn = now
    modes.forEach((made, i) => {
      const chosen = INTERPOLATIONS[i] === interpolation
      made.setAttribute("aria-checked", String(chosen))
      made.disabled = fixed || empty
      made.tabIndex = chosen || (i === 0 && !INTERPOLATIONS.includes(interpolation)) ? 0 : -1
    })
    paste.disabled = reset.disabled = fixed
  }
  return { element, update }
}
