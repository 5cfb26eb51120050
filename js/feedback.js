// What a run did, drawn for the artist: a sampler's report and a prompt's verdict. It knows nothing of ComfyUI.
// Prompts are the artist's text and notes come from a server: they only ever become text, never markup.
import { levelOf } from "./levels.js"
import { markWords, readReport, readVerdict } from "./result.js"
import { say } from "./words.js"

const BUCKETS = 120 // strokes in a plot; more would touch each other
const DECISION = 0.5 // of a risk: the point between everyday and unsafe phrases

const STYLE = `
.safelight-feedback{box-sizing:border-box;width:100%;display:flex;flex-direction:column;gap:5px;padding:7px 9px;
  border:1px solid var(--border-color,#4e4e4e);border-radius:6px;background:var(--comfy-input-bg,#222);
  color:var(--input-text,#ddd);font:11px/1.45 Inter,Arial,sans-serif;text-align:left;user-select:text;
  overflow-wrap:anywhere;height:max-content}
.safelight-feedback *{box-sizing:border-box}
.safelight-feedback>*,.safelight-body>*{flex:none}
.safelight-row{display:flex;align-items:center;gap:7px;min-width:0}
.safelight-name{color:var(--descrip-text,#999);flex:0 0 auto;min-width:30px}
.safelight-name:empty{display:none}
.safelight-head{font-weight:600;justify-content:space-between}
.safelight-end{color:var(--descrip-text,#999);font-weight:400;text-align:right}
.safelight-plot{position:relative;height:52px;border-bottom:1px solid var(--border-color,#4e4e4e);overflow:hidden;
  background:linear-gradient(var(--border-color,#4e4e4e) 0 1px,transparent 1px) 0 0/100% 50%;background-clip:padding-box}
.safelight-settles{position:absolute;left:0;top:0;bottom:0;background:var(--descrip-text,#999);opacity:.16}
.safelight-stroke{position:absolute;bottom:0;width:3px;margin-left:-1.5px;border-radius:1.5px 1.5px 0 0;min-height:2px;
  background:var(--p-primary-color,#6aa9f5)}
.safelight-stroke[data-idle]{background:var(--descrip-text,#999)}
.safelight-axis{display:flex;justify-content:space-between;position:relative;height:15px;color:var(--descrip-text,#999);
  font-size:10px}
.safelight-axis span:nth-child(2){position:absolute;transform:translateX(-50%)}
.safelight-bar{position:relative;flex:1 1 40px;height:6px;border-radius:3px;background:var(--border-color,#4e4e4e);
  min-width:30px}
.safelight-bar i{position:absolute;left:0;top:0;bottom:0;border-radius:3px;background:var(--p-primary-color,#6aa9f5)}
.safelight-bar b{position:absolute;top:-2px;bottom:-2px;width:2px;margin-left:-1px;background:var(--input-text,#ddd)}
.safelight-prompt{max-height:82px;overflow:auto;white-space:pre-wrap}
.safelight-feedback mark{background:var(--p-primary-color,#6aa9f5);color:var(--p-primary-contrast-color,#111);
  border-radius:3px;padding:0 2px}
.safelight-note{color:var(--descrip-text,#999)}
.safelight-stale-line{display:none;font-weight:600}
.safelight-feedback[data-stale] .safelight-stale-line{display:block}
.safelight-feedback[data-stale] .safelight-body{opacity:.45;filter:grayscale(1)}
.safelight-body{display:flex;flex-direction:column;gap:5px;min-width:0}
.safelight-fault{color:var(--error-text,#ff6e6e)}
`

/** An element with a class, text content and children. */
function make(tag, name, text = "", children = []) {
  const element = document.createElement(tag)
  if (name) element.className = name
  element.textContent = text
  element.append(...children)
  return element
}

/** The style sheet, once for the document. */
function dress() {
  if (document.getElementById("safelight-feedback-style")) return
  const sheet = make("style", "", STYLE)
  sheet.id = "safelight-feedback-style"
  document.head.append(sheet)
}

const row = (name, ...children) => make("div", "safelight-row", "", [make("span", "safelight-name", name), ...children])
const note = (text) => make("div", "safelight-note", text)
const percent = (part) => `${Math.round(part * 100)}`

/** A bar from 0 to 1 with a mark on it. */
function bar(part, mark) {
  const fill = make("i")
  fill.style.width = `${part * 100}%`
  const line = make("b")
  line.style.left = `${mark * 100}%`
  return make("span", "safelight-bar", "", [fill, line])
}

/** The weights of the run's calls over its progress, the part before the context shaded. */
function plot({ calls, context }) {
  const area = make("div", "safelight-plot")
  area.setAttribute("role", "img")
  area.setAttribute("aria-label", `${say("feedback.plot")}: ${calls.map((call) => call.weight.toFixed(2)).join(", ")}`)
  const settles = make("div", "safelight-settles")
  settles.style.width = `${(context ?? 0) * 100}%`
  settles.title = say("feedback.settles")
  const strongest = new Map()
  for (const call of calls) {
    const place = Math.round(call.progress * BUCKETS)
    if (!(strongest.get(place)?.weight >= call.weight)) strongest.set(place, call)
  }
  const strokes = [...strongest.values()].map((call) => {
    const stroke = make("div", "safelight-stroke")
    // Half a stroke from the edges at 0 and 1, so that the first and the last are seen whole.
    stroke.style.left = `calc(2px + ${call.progress} * (100% - 4px))`
    stroke.style.height = `${call.weight * 100}%`
    stroke.toggleAttribute("data-idle", call.weight === 0)
    stroke.title = say("feedback.call", { progress: percent(call.progress), weight: call.weight.toFixed(2) })
    return stroke
  })
  area.append(settles, ...strokes)
  const edge = make("span", "", context > 0.15 && context < 0.85 ? `${percent(context)} %` : "")
  edge.style.left = `${(context ?? 0) * 100}%`
  const axis = make("div", "safelight-axis", "", [make("span", "", say("feedback.start")), edge, make("span", "", say("feedback.end"))])
  return [area, axis]
}

function drawReport(report) {
  const { state, safety, risk, gate, ratio, rows, plainRows, notes } = report
  const head = make("div", "safelight-row safelight-head", "", [make("span", "", say(`feedback.${state}`))])
  if (state === "steered") head.append(make("span", "safelight-end", `${say(`level.${levelOf(safety)}`)} · ${safety.toFixed(2)}`))
  const parts = [head]
  if (report.calls.length) parts.push(...plot(report))
  const opening = say(risk < gate ? "feedback.closed" : "feedback.open", { gate: gate.toFixed(2) })
  parts.push(row(say("feedback.risk"), bar(risk, gate), make("span", "", risk.toFixed(2)), make("span", "safelight-end", opening)))
  if (ratio !== null) {
    const cost = row(say("feedback.work"), make("span", "", say("feedback.ratio", { ratio: ratio.toFixed(2) })))
    cost.title = say("feedback.rows", { rows, plain: plainRows })
    parts.push(cost)
  }
  return [...parts, ...notes.map(note)]
}

function drawVerdict({ risk, method, words, notes }, prompt) {
  const parts = [row(say("feedback.risk"), bar(risk, DECISION), make("span", "", risk.toFixed(2)),
    make("span", "safelight-end", `${say("feedback.method")} ${method}`))]
  const { pieces, missing } = markWords(prompt, words)
  if (pieces.length) {
    parts.push(make("div", "safelight-prompt", "", pieces.map(({ text, marked }) => make(marked ? "mark" : "span", "", text))))
  }
  // Words of a prompt that comes over a link, or that a wildcard brought in.
  if (missing.length) parts.push(row(say("feedback.words"), ...missing.map((word) => make("mark", "", word))))
  if (!words.length) parts.push(note(say("feedback.none")))
  return [...parts, ...notes.map(note)]
}

/** The frame of both views: what is drawn, and whether it is of other settings than the present ones. */
function createView(title, draw) {
  dress()
  const body = make("div", "safelight-body")
  const element = make("div", "safelight-feedback", "", [make("div", "safelight-stale-line", say("feedback.stale")), body])
  element.setAttribute("role", "status")
  element.setAttribute("aria-label", say(title))
  for (const type of ["pointerdown", "keydown", "copy"]) {
    element.addEventListener(type, (event) => event.stopPropagation()) // text can be selected; the node stays in place
  }
  return {
    element,
    /** @param {string} text the JSON of the message; @param {string} [prompt] the text that the verdict is about */
    show: (text, prompt = "") => body.replaceChildren(...draw(text, prompt)),
    setStale: (stale) => element.toggleAttribute("data-stale", stale)
  }
}

const faultLine = (fault) => [make("div", "safelight-fault", say("feedback.broken", { why: say(`feedback.${fault}`) }))]

/** @returns {{element: HTMLElement, show: (text: string) => void, setStale: (stale: boolean) => void}} */
export function createReportView() {
  return createView("feedback.report", (text) => {
    const report = readReport(text)
    return report.fault ? faultLine(report.fault) : drawReport(report)
  })
}

/** @returns {{element: HTMLElement, show: (text: string, prompt: string) => void, setStale: (stale: boolean) => void}} */
export function createVerdictView() {
  return createView("feedback.verdict", (text, prompt) => {
    const verdict = readVerdict(text)
    return verdict.fault ? faultLine(verdict.fault) : drawVerdict(verdict, prompt)
  })
}
