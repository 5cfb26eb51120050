// What a run did, drawn for the artist: a sampler's report, a prompt's verdict, a note. It knows nothing of ComfyUI.
// Prompts are the artist's text and notes come from a server: they only ever become text, never markup.
import { make } from "../widgets/element.js"
import { dressFeedback } from "./style.js"
import { levelOf, placeOf } from "../widgets/levels.js"
import { markWords, readFrames, readPictures, readReport, readVerdict } from "./result.js"
import { createFrames } from "./frames.js"
import { createWipe } from "./wipe.js"
import { say } from "../words.js"

const BUCKETS = 120 // strokes in a plot; more would touch each other
const DECISION = 0.5 // of a risk: the point between everyday and unsafe phrases
const MOST_PICTURES = 8 // of a batch that have a line of their own

export const row = (name, ...children) => make("div", "safelight-run-row", "", [make("span", "safelight-run-name", name), ...children])
export const note = (text) => make("div", "safelight-run-note", text)
const percent = (part) => `${Math.round(part * 100)}`

/** A bar from 0 to 1 with a mark on it. */
function bar(part, mark) {
  const fill = make("i")
  fill.style.width = `${part * 100}%`
  const line = make("b")
  line.style.left = `${mark * 100}%`
  return make("span", "safelight-run-bar", "", [fill, line])
}

/** The weights of the run's calls over its progress, the part before the context shaded. */
export function plot({ calls, context }) {
  const area = make("div", "safelight-run-plot")
  area.setAttribute("role", "img")
  const weights = calls.map((call) => call.weight)
  const [least, most] = [Math.min(...weights), Math.max(...weights)].map((weight) => weight.toFixed(2))
  area.setAttribute("aria-label", `${say("feedback.plot")}: ${least} – ${most}`)
  const settles = make("div", "safelight-run-settles")
  settles.style.width = `${(context ?? 0) * 100}%`
  settles.title = say("feedback.settles")
  const strongest = new Map()
  for (const call of calls) {
    const place = Math.round(call.progress * BUCKETS)
    if (!(strongest.get(place)?.weight >= call.weight)) strongest.set(place, call)
  }
  const strokes = [...strongest.values()].map((call) => {
    const stroke = make("div", "safelight-run-stroke")
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
  const axis = make("div", "safelight-run-axis", "", [make("span", "", say("feedback.start")), edge, make("span", "", say("feedback.end"))])
  return [area, axis]
}

/** How far the safe prompt moved the prediction, and where it decided alone, or gave the values alone. */
function changeText({ moved, replaced, valued, guided }) {
  if (valued) return say("feedback.valued", { valued, guided })
  if (replaced >= guided || !moved.length) return say("feedback.whole")
  const [least, most] = [Math.min(...moved), Math.max(...moved)].map((share) => (share < 0.01 ? "< 1" : percent(share)))
  const change = say("feedback.moved", { share: least === most ? least : `${least} – ${most}` })
  return replaced ? `${change}; ${say("feedback.replaced", { replaced, guided })}` : change
}

/** What was found in a picture, and what was done. */
function lookText({ level, steered, passed, words, found }) {
  const done = passed ? (!steered ? "nothingFound" : found.length ? "enough" : "clearAt") : steered ? "notEnough" : "notSteered"
  const finds = found.map((one) => say(one.early ? "feedback.onTheWay" : "feedback.inPicture", { words: one.words, level: placeOf(one.level) }))
  const by = words ? [say("feedback.byWords", { words })] : []
  return [say(`feedback.${done}`, { level: placeOf(level) }), ...by, ...finds].join(" · ")
}

/** A line for each picture that a detector looked at. */
function drawLook({ pictures }) {
  const name = (i) => (pictures.length > 1 ? say("feedback.picture", { number: i + 1 }) : say("feedback.look"))
  const lines = pictures.slice(0, MOST_PICTURES).map((picture, i) =>
    row(name(i), make("span", picture.passed ? "" : "safelight-run-fault", lookText(picture))))
  const further = pictures.slice(MOST_PICTURES)
  if (!further.length) return lines
  return [...lines, note(say("feedback.furtherPictures", { count: further.length, found: further.filter(({ passed }) => !passed).length }))]
}

/** The slider's word and place; after a look the levels that the pictures ended at. */
export function levelText({ safety, look }) {
  const [least, most] = look ? [look.levels[0], look.levels.at(-1)] : [safety, safety]
  return least === most ? `${say(`level.${levelOf(least)}`)} · ${least.toFixed(2)}` : `${least.toFixed(2)} – ${most.toFixed(2)}`
}

function headText({ state, look }) {
  const some = state === "steered" && look && look.steered < look.pictures.length
  return some ? say("feedback.steeredSome", { steered: look.steered, pictures: look.pictures.length }) : say(`feedback.${state}`)
}

/** What was done, and how strongly; a line for each picture that was looked at. */
function drawHead(report) {
  const { state, look } = report
  const head = make("div", "safelight-run-row safelight-run-head", "", [make("span", "", headText(report))])
  if (state === "steered") head.append(make("span", "safelight-run-end", levelText(report)))
  return look ? [head, ...drawLook(look)] : [head]
}

/** How unsafe the text is, and whether that opens the gate. */
export function riskRow(risk, gate) {
  const opening = say(risk < gate ? "feedback.closed" : "feedback.open", { gate: gate.toFixed(2) })
  return row(say("feedback.risk"), bar(risk, gate), make("span", "", risk.toFixed(2)), make("span", "safelight-run-end", opening))
}

/** How it was done, and what it cost. */
function drawRun(report) {
  const { state, risk, gate, ratio, rows, rememberedRows, plainRows, notes, look } = report
  const parts = []
  if (report.calls.length && !(look && state !== "steered")) parts.push(...plot(report))
  if (state === "steered") parts.push(row(say("feedback.change"), make("span", "", changeText(report))))
  if (state === "steered" && !look && report.safety < 1) parts.push(note(say("feedback.unlooked")))
  parts.push(riskRow(risk, gate))
  if (ratio !== null) {
    const cost = row(say("feedback.work"), make("span", "", say(report.pictures > 1 ? "feedback.ratioOfStrip" : "feedback.ratio", { ratio: ratio.toFixed(2), pictures: report.pictures })))
    cost.title = say("feedback.rows", { rows, plain: plainRows })
    if (rememberedRows) cost.append(make("span", "safelight-run-end", say("feedback.remembered", { rows: rememberedRows })))
    parts.push(cost)
  }
  return [...parts, ...notes.map(note)]
}

const drawReport = (report) => [...drawHead(report), ...drawRun(report)]

/** A text with some of its words marked. */
export function marked(pieces, kind = "") {
  const spans = pieces.map(({ text, marked }) => make(marked ? "mark" : "span", "", text))
  return make("div", `safelight-run-prompt ${kind}`.trim(), "", spans)
}

/** What was changed in words: the prompt with what was acted on, and its safe counterpart. */
function drawWords({ words, safePrompt, changes }, prompt) {
  const parts = []
  const { pieces, missing } = markWords(prompt, words)
  if (pieces.length) parts.push(marked(pieces))
  // Words of a prompt that comes over a link, or that a wildcard brought in.
  if (missing.length) parts.push(row(say("feedback.words"), ...missing.map((word) => make("mark", "", word))))
  if (safePrompt && safePrompt !== prompt) {
    parts.push(make("div", "safelight-run-name", say("feedback.safePrompt")), marked(markWords(safePrompt, changes).pieces, "safelight-run-safe"))
  }
  return parts
}

function drawVerdict(verdict, prompt) {
  const { risk, method, words, notes } = verdict
  const parts = [row(say("feedback.risk"), bar(risk, DECISION), make("span", "", risk.toFixed(2)),
    make("span", "safelight-run-end", `${say("feedback.method")} ${method}`))]
  parts.push(...drawWords(verdict, prompt))
  if (!words.length && !notes.length) parts.push(note(say("feedback.none")))
  return [...parts, ...notes.map(note)]
}

/** First what an artist asks: what was done, in which words. The rest can be unfolded. */
function drawEasy(report, verdict, prompt) {
  const details = make("details", "safelight-run-details", "", [make("summary", "", say("feedback.details")), ...drawRun(report)])
  const said = report.state === "alone" && verdict.notes.length === 1 ? [] : verdict.notes // the head says it already
  const words = verdict.words.length ? drawWords(verdict, prompt) : []
  return [...drawHead(report), ...words, ...said.map(note), details]
}

/**
 * The frame of every view: what is drawn, and whether it is of other settings than the present ones. role: what can be
 * worked is a group, and no announcement.
 */
function createView(title, draw, role = "status") {
  dressFeedback()
  const body = make("div", "safelight-run-body")
  const element = make("div", "safelight-feedback", "", [make("div", "safelight-run-stale-line", say("feedback.stale")), body])
  element.setAttribute("role", role)
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

const faultLine = (fault) => [make("div", "safelight-run-fault", say("feedback.broken", { why: say(`feedback.${fault}`) }))]

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

/**
 * @param {(file: object) => string} address of a picture on the server
 * @returns {{element: HTMLElement, show: (text: string, prompt: string) => void, setStale: (stale: boolean) => void}}
 */
export function createEasyView(address) {
  const wipe = createWipe(address)
  return createView("feedback.easy", (text, prompt) => {
    const [shown, told, said] = JSON.parse(text)
    const [pictures, report, verdict] = [readPictures(shown), readReport(told), readVerdict(said)]
    const fault = pictures.fault || report.fault || verdict.fault
    if (fault) return faultLine(fault)
    wipe.show(pictures)
    return [wipe.element, ...drawEasy(report, verdict, prompt)]
  }, "group")
}

/**
 * @param {(file: object) => string} address of a picture on the server
 * @returns {{element: HTMLElement, show: (text: string) => void, setStale: (stale: boolean) => void}}
 */
export function createMapView(address) {
  const wipe = createWipe(address, { mapFirst: true })
  return createView("feedback.about", (text) => {
    const [shown, said] = JSON.parse(text)
    const pictures = readPictures(shown)
    if (pictures.fault) return faultLine(pictures.fault)
    wipe.show(pictures)
    return [wipe.element, ...(said ? [note(said)] : [])]
  }, "group")
}

/**
 * @param {(file: object) => string} address of a picture on the server
 * @param {object} sliders of sliders.js
 * @returns {{element: HTMLElement, show: (text: string) => void, setStale: (stale: boolean) => void, refresh: () => void}}
 *   refresh: the workflow has changed
 */
export function createStripView(address, sliders) {
  const frames = createFrames(address, sliders)
  const view = createView("feedback.report", (text) => {
    const [shown, told] = JSON.parse(text)
    const [strip, report] = [readFrames(shown), readReport(told)]
    const fault = strip.fault || report.fault
    if (fault) return faultLine(fault)
    frames.show(strip)
    return [frames.element, ...drawReport(report)]
  }, "group")
  return { ...view, refresh: frames.refresh }
}

/** @returns {{element: HTMLElement, show: (text: string) => void, setStale: (stale: boolean) => void}} */
export const createNoteView = () => createView("feedback.about", (text) => [note(text)])
