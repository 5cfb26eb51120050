// The pictures of a strip side by side, each a button: the slider goes there, and the wipe shows it over the plain one. It
// knows nothing of ComfyUI.
import { dressFrames } from "./frames_style.js"
import { make } from "../widgets/element.js"
import { placeOf } from "../widgets/levels.js"
import { createWipe } from "./wipe.js"
import { say } from "../words.js"

const MOST_ROWS = 8 // of a batch, whose other pictures the wipe shows
const SAME = 1e-6 // of levels: sliders have steps

/**
 * @param {(file: object) => string} address of a picture on the server
 * @param {{places: () => number[], move: (level: number) => {set: string[], linked: string[]},
 *   add: (level: number, seed: number) => void}} sliders of sliders.js
 * @returns {{element: HTMLElement, show: (strip: object) => void, refresh: () => void}} show: what readFrames gives;
 *   refresh: the workflow has changed
 */
export function createFrames(address, sliders) {
  dressFrames()
  let strip
  let buttons = [] // {button, frame, picture}
  let chosen = null // {safety, picture}
  const grid = make("div", "safelight-frames-grid")
  const status = make("div", "safelight-run-note")
  const offer = make("button", "safelight-wipe-button")
  const wipe = createWipe(address, { turned: (picture) => choose({ ...chosen, picture }) })
  const gone = make("div", "safelight-run-note")
  const element = make("div", "safelight-frames")
  element.append(grid, gone, wipe.element, status, offer)
  grid.setAttribute("role", "group")
  status.setAttribute("role", "status")
  offer.type = "button"
  offer.addEventListener("click", () => {
    sliders.add(chosen.safety, strip.seed)
    tell([say("strip.added", { level: placeOf(chosen.safety) })])
    refresh()
  })

  function tell(lines, offered = false) {
    status.textContent = lines.join("\n")
    status.hidden = !lines.length
    offer.hidden = !offered
  }

  /** The wipe from the plain picture, or that of the lowest level, to the chosen one. */
  function choose(next) {
    chosen = next
    const frame = strip.frames.find(({ safety }) => safety === chosen?.safety)
    wipe.element.hidden = !frame
    if (frame) {
      const plain = strip.frames.reduce((low, each) => (each.safety < low.safety ? each : low))
      const [before, after] = [plain, frame].map(({ safety }) => say("strip.frame", { level: placeOf(safety) }))
      const other = frame === plain ? {} : { before: plain.pictures }
      wipe.show({ after: frame.pictures, ...other, labels: { before, after }, picture: chosen.picture })
    }
    for (const { button, frame: own, picture } of buttons) {
      button.setAttribute("aria-pressed", String(own === frame && picture === chosen.picture))
    }
  }

  function pick(safety, picture) {
    choose({ safety, picture })
    const { set, linked } = sliders.move(safety)
    const level = placeOf(safety)
    const lines = [["set", set], ["linked", linked]].filter(([, nodes]) => nodes.length)
      .map(([key, nodes]) => say(`strip.${key}`, { nodes: nodes.join(", "), level }))
    if (!lines.length) offer.textContent = say("strip.add", { level })
    tell(lines.length ? lines : [say("strip.none")], !lines.length)
    refresh()
  }

  function drawFrame(frame, picture) {
    const button = make("button", "safelight-frames-frame")
    button.type = "button"
    const image = Object.assign(document.createElement("img"), { alt: "", draggable: false, src: address(frame.pictures[picture]) })
    image.addEventListener("error", () => {
      element.toggleAttribute("data-gone", true)
      gone.hidden = false
    })
    const caption = make("span", "safelight-frames-level", placeOf(frame.safety))
    button.append(image, caption)
    if (frame.found?.[picture]) button.append(make("span", "safelight-frames-found", frame.found[picture]))
    if (frame.enough?.[picture]) button.append(make("span", "safelight-frames-enough", say("strip.enough")))
    button.addEventListener("click", () => pick(frame.safety, picture))
    return { button, frame, picture }
  }

  /** Marks where the sliders are now; the buttons stay, and with them what has the focus. */
  function refresh() {
    if (!strip) return
    const places = sliders.places()
    const several = strip.frames[0].pictures.length > 1
    for (const { button, frame, picture } of buttons) {
      const here = places.some((place) => Math.abs(place - frame.safety) < SAME)
      button.toggleAttribute("data-here", here)
      const words = [say("strip.frame", { level: placeOf(frame.safety) })]
      if (several) words.push(say("strip.picture", { number: picture + 1 }))
      if (frame.found) words.push(frame.found[picture] || say("strip.nothing"))
      if (frame.enough?.[picture]) words.push(say("strip.enough"))
      if (here) words.push(say("strip.here"))
      button.title = words.join(", ")
      button.setAttribute("aria-label", button.title)
    }
  }

  return {
    element,
    show(shown) {
      if (JSON.stringify(shown) === JSON.stringify(strip)) return // the same once more, when its settings are known
      strip = shown
      element.toggleAttribute("data-gone", false)
      gone.hidden = true
      gone.textContent = say("wipe.gone")
      grid.setAttribute("aria-label", say("strip.frames"))
      grid.style.setProperty("--sl-levels", strip.frames.length)
      const rows = Math.min(MOST_ROWS, strip.frames[0].pictures.length)
      buttons = Array.from({ length: rows }, (_, row) => strip.frames.map((frame) => drawFrame(frame, row))).flat()
      grid.replaceChildren(...buttons.map(({ button }) => button))
      choose(chosen)
      tell([])
      refresh()
    },
    refresh
  }
}
