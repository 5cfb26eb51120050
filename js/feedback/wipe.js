// Before and after as two pictures over each other, with a handle between them, and the map of where they differ. It knows
// nothing of ComfyUI.
import { dressWipe } from "./wipe_style.js"
import { make } from "../widgets/element.js"
import { say } from "../words.js"

const STEP = { ArrowLeft: -5, ArrowDown: -5, PageDown: -20, ArrowRight: 5, ArrowUp: 5, PageUp: 20, Home: -100, End: 100 }

/** A layer of the frame: a picture that is no file to be dragged away. */
const layer = (name) => Object.assign(make("img", `safelight-wipe-${name}`), { draggable: false })

function button(name, act) {
  const element = make("button", `safelight-wipe-button ${name}`)
  element.type = "button"
  element.addEventListener("click", act)
  return element
}

/**
 * @param {(file: object) => string} address of a picture that the server named: {filename, subfolder, type}
 * @param {{mapFirst?: boolean, turned?: (picture: number) => void}} [wishes] mapFirst: a picture without another is shown
 *   with its map till the artist says otherwise; turned: another picture of the batch is shown
 * @returns {{element: HTMLElement, show: (pictures: {after: object[], before?: object[], map?: object[], when?: object[],
 *   labels?: {before: string, after: string}, picture?: number}) => void}} after: a batch; before, map: the same batch,
 *   where there is one; when: what stands under each; picture: the one of the batch to be seen
 */
export function createWipe(address, { mapFirst = false, turned = () => {} } = {}) {
  dressWipe()
  let pictures = { after: [] }
  let at = 50 // percent of the width that is before
  let picture = 0
  let mapped = null // the artist's wish
  const isMapped = () => Boolean(pictures.map) && (mapped ?? (mapFirst && !pictures.before))

  const layers = { after: layer("after"), before: layer("before"), map: layer("map") }
  const when = layer("when")
  const handle = make("div", "safelight-wipe-handle")
  const labels = ["before", "after"].map((side) => make("span", `safelight-wipe-label safelight-wipe-${side}-label`))
  const frame = make("div", "safelight-wipe-frame", "", [...Object.values(layers), ...labels, handle])
  const map = button("safelight-wipe-toggle", () => {
    mapped = !isMapped()
    draw()
  })
  const count = make("span", "safelight-wipe-count")
  const turn = (by) => () => {
    picture = (picture + by + pictures.after.length) % pictures.after.length
    draw()
    turned(picture)
  }
  const [previous, next] = [button("", turn(-1)), button("", turn(1))]
  const batch = make("span", "safelight-wipe-batch", "", [previous, count, next])
  const gone = make("div", "safelight-run-note")
  const bar = make("div", "safelight-wipe-bar", "", [map, batch])
  const element = make("div", "safelight-wipe", "", [frame, when, gone, bar])
  gone.hidden = true

  handle.tabIndex = 0
  for (const [name, value] of Object.entries({ role: "slider", "aria-valuemin": 0, "aria-valuemax": 100 })) handle.setAttribute(name, value)
  layers.after.addEventListener("error", () => {
    // The server has emptied its folder for temporary files.
    element.toggleAttribute("data-gone", true)
    gone.hidden = false
  })

  function move(to) {
    at = Math.min(100, Math.max(0, to))
    frame.style.setProperty("--sl-at", `${at}%`)
    handle.setAttribute("aria-valuenow", Math.round(at))
    handle.setAttribute("aria-valuetext", say("wipe.at", { share: Math.round(at) }))
  }
  const follow = (event) => {
    const { left, width } = frame.getBoundingClientRect()
    if (width) move((100 * (event.clientX - left)) / width)
  }
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !pictures.before || isMapped()) return
    frame.setPointerCapture(event.pointerId)
    handle.focus({ preventScroll: true })
    follow(event)
  })
  frame.addEventListener("pointermove", (event) => frame.hasPointerCapture(event.pointerId) && follow(event))
  handle.addEventListener("keydown", (event) => {
    if (!(event.key in STEP) || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    move(at + STEP[event.key] / (event.shiftKey ? 5 : 1))
  })

  function draw() {
    element.toggleAttribute("data-gone", false)
    gone.hidden = true
    for (const [name, image] of Object.entries({ ...layers, when })) {
      const file = pictures[name]?.[picture]
      image.hidden = !file || (name === "map" && !isMapped())
      if (file && image.getAttribute("src") !== address(file)) image.src = address(file)
    }
    const wiped = Boolean(pictures.before) && !isMapped()
    for (const part of [handle, ...labels]) part.hidden = !wiped
    map.hidden = !pictures.map
    map.setAttribute("aria-pressed", String(isMapped()))
    batch.hidden = pictures.after.length < 2
    bar.hidden = map.hidden && batch.hidden
    count.textContent = `${picture + 1} / ${pictures.after.length}`
    count.setAttribute("aria-label", say("wipe.picture", { number: picture + 1, count: pictures.after.length }))
  }

  /** The texts, in the language that the page speaks by now. */
  function label() {
    const named = (name) => pictures.labels?.[name] ?? say(`wipe.${name}`)
    for (const [name, image] of Object.entries({ ...layers, when })) image.alt = named(name)
    for (const [i, side] of ["before", "after"].entries()) labels[i].textContent = named(side)
    handle.setAttribute("aria-label", say("wipe.handle"))
    map.textContent = say("wipe.map")
    gone.textContent = say("wipe.gone")
    for (const [turned, sign, name] of [[previous, "‹", "previous"], [next, "›", "next"]]) {
      turned.textContent = sign
      turned.setAttribute("aria-label", say(`wipe.${name}`))
    }
  }

  return {
    element,
    show(shown) {
      pictures = shown
      picture = Math.min(shown.picture ?? picture, shown.after.length - 1)
      label()
      move(at)
      draw()
    }
  }
}
