// A prompt with its unsafe words, each with a menu of what can be there instead, and its safe prompt. Prompts are the
// artist's text and choices come from a server: they only ever become text, never markup.
import { installStyle } from "../editor/style.js"
import { openMenu } from "../editor/menu.js"
import { marked, note } from "../feedback/feedback.js"
import { make } from "../widgets/element.js"
import { markWords, readVerdict } from "../feedback/result.js"
import { dressFeedback } from "../feedback/style.js"
import { say } from "../words.js"
import { dressTyping } from "./style.js"
import { cut } from "./lines.js"

const LINE = "safelight-typing-line"

/**
 * @param {(key: string, standIn: ?string) => void} choose a stand-in for the words, "" to leave them out, the words
 *   themselves to keep them, null for Safelight's own
 * @returns {{element: HTMLElement, show: (prompt: string, answer: object, choosable: boolean) => boolean,
 *   enliven: (result: HTMLElement) => void}}
 */
export function createTypingView(choose) {
  dressFeedback()
  installStyle()
  dressTyping()
  const body = make("div", "safelight-typing-body") // one of a run's own would turn grey with it
  const element = make("div", "safelight-feedback safelight-typing", "", [body])
  element.setAttribute("role", "group")
  element.setAttribute("aria-label", say("typing.title"))
  for (const type of ["pointerdown", "keydown", "copy"]) {
    element.addEventListener(type, (event) => event.stopPropagation()) // text can be selected; the node stays in place
  }
  let shown = { prompt: "", answer: null, places: [], choosable: false, found: false }
  const lines = new WeakMap() // a line that was drawn: the answer that it is of

  /** A field for words of the artist's own, under the line. */
  function write(line, word, place) {
    line.parentElement.querySelector(".safelight-typing-own")?.remove()
    const field = make("input", "")
    field.value = place.kept ? "" : place.text
    field.setAttribute("aria-label", say("typing.instead", { words: word.textContent }))
    const form = make("form", "safelight-typing-own", "", [make("span", "", `${word.textContent} =`), field, make("button", "", say("editor.use"))])
    const leave = () => {
      form.remove()
      word.focus({ preventScroll: true })
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      leave()
      choose(place.key, field.value.replace(/\s+/g, " ").trim())
    })
    form.addEventListener("keydown", (event) => {
      event.stopPropagation()
      if (event.key === "Escape") leave()
    })
    line.after(form)
    field.focus({ preventScroll: true })
    field.select()
  }

  function open(line, word, place) {
    const item = (label, standIn, checked) => ({ label, checked, run: () => choose(place.key, standIn) })
    const texts = [...new Set([...(place.kept || !place.text ? [] : [place.text]), ...place.others])]
    const { left, bottom } = word.getClientRects()[0]
    openMenu({ x: left, y: bottom + 2 }, [
      item(say("typing.keep", { words: word.textContent }), place.key, place.kept),
      null,
      ...texts.map((text) => item(text, text, !place.kept && text === place.text)),
      item(say("typing.leaveOut"), "", !place.text),
      null,
      { label: say("typing.write"), run: () => write(line, word, place) },
      ...(place.own ? [item(say("typing.reset"), null)] : [])
    ], word)
  }

  function drawWord(line, text, place) {
    const word = make("mark", "safelight-typing-word", text)
    const now = place.kept ? say("typing.kept") : place.text ? say("typing.becomes", { text: place.text }) : say("typing.leftOut")
    word.tabIndex = 0
    word.title = now
    word.setAttribute("role", "button")
    word.setAttribute("aria-haspopup", "menu")
    word.setAttribute("aria-label", `${text}: ${now}`)
    word.toggleAttribute("data-kept", place.kept)
    word.addEventListener("click", () => open(line, word, place))
    word.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return
      event.preventDefault()
      event.stopPropagation()
      open(line, word, place)
    })
    return word
  }

  /** The prompt, its places marked; to be pressed where the choice has a place to go. */
  function drawLine() {
    const { prompt, places, choosable } = shown
    const line = make("div", `safelight-run-prompt ${LINE}`)
    line.append(...cut(prompt, places).map(({ text, place }) =>
      place && choosable ? drawWord(line, text, place) : make(place ? "mark" : "span", "", text)))
    lines.set(line, shown.answer)
    return line
  }

  /** Puts `draw`'s words where the focused one was. */
  function keepingFocus(root, draw) {
    const at = [...root.querySelectorAll(".safelight-typing-word")].indexOf(document.activeElement)
    draw()
    if (at >= 0) root.querySelectorAll(".safelight-typing-word")[at]?.focus({ preventScroll: true })
  }

  return {
    element,
    /**
     * @param {object} answer the server's: {verdict, places} or {error}
     * @param {boolean} choosable whether the artist's lines are a widget's
     * @returns {boolean} whether anything was found
     */
    show(prompt, answer, choosable) {
      if (answer === shown.answer && choosable === shown.choosable) return shown.found // a menu of it may be open
      const { error, verdict: text, places = [] } = answer
      const verdict = error === undefined ? readVerdict(text) : { fault: "", words: [], notes: [error], safePrompt: "", changes: [] }
      const typed = verdict.method === "typed"
      const found = !verdict.fault && Boolean(places.length || verdict.words.length || error !== undefined)
      shown = { prompt, answer, places, choosable, found }
      const line = typed || !places.length ? marked(markWords(prompt, verdict.words).pieces) : drawLine()
      const parts = verdict.fault ? [] : !found ? [note(say("feedback.none"))] : [...(error === undefined ? [line] : []), ...verdict.notes.map(note)]
      if (found && !typed && verdict.safePrompt && verdict.safePrompt !== prompt) {
        parts.splice(1, 0, make("div", "safelight-run-name", say("feedback.safePrompt")),
          marked(markWords(verdict.safePrompt, verdict.changes).pieces, "safelight-run-safe"))
      }
      keepingFocus(element, () => body.replaceChildren(...parts))
      return found
    },
    /** Lets the words of a run's verdict be pressed, where it is about this prompt. */
    enliven(result) {
      const old = result.querySelector(".safelight-run-prompt:not(.safelight-run-safe)")
      if (!shown.places.length || !old || old.textContent !== shown.prompt || lines.get(old) === shown.answer) return
      keepingFocus(result, () => old.replaceWith(drawLine()))
    }
  }
}
