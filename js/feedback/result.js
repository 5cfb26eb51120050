// What a run told, read from the JSON texts of its `executed` message. Pure: no page, no host.

const FORMAT = 2 // of safelight/engine/run_record.py
const FOUND = 0.5 // of safelight/detect/look.py

const isNumber = (value) => typeof value === "number" && Number.isFinite(value)
const isUnit = (value) => isNumber(value) && value >= 0 && value <= 1
const texts = (value) => (Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [])

/** The JSON object in a text, or null. */
function objectIn(text) {
  try {
    const value = JSON.parse(text)
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** The notes that say what a headline or the lines of a look say already. */
const isSaid = (note, stock, looked) => (stock && note.endsWith(": the stock sampler ran.")) ||
  (looked && (note.endsWith("nothing was found.") || note.endsWith("no level let it pass.")))

const isLooked = (picture) => picture !== null && isUnit(picture?.safety) && typeof picture.passed === "boolean" &&
  Array.isArray(picture.looks) && picture.looks.every((one) => one !== null && isUnit(one?.safety) &&
    typeof one.early === "boolean" && isUnit(one.score) && typeof one.words === "string")

/**
 * What a sampler with a detector did to each picture (safelight/engine/least.py), null for what is no such thing.
 * A picture was steered where its level is over 0 and the run moved it: harmless words steer nowhere.
 */
function readLook(look, { harmless, moved, replaced }) {
  if (!Array.isArray(look?.pictures) || !look.pictures.length || !look.pictures.every(isLooked)) return null
  const level = (safety) => (harmless ? 0 : safety)
  const pictures = look.pictures.map(({ safety, passed, looks, safe_prompt: safePrompt }, i) => ({
    level: level(safety), steered: level(safety) > 0 && (replaced > 0 || moved[i] > 0), passed, words: texts([safePrompt])[0] ?? "",
    found: looks.filter(({ score }) => score >= FOUND).map((one) => ({ level: level(one.safety), early: one.early, words: one.words }))
  }))
  const steered = pictures.filter((picture) => picture.steered)
  return { pictures, steered: steered.length, levels: [...new Set(steered.map((picture) => picture.level))].sort((a, b) => a - b) }
}

/**
 * A sampler's report (safelight/engine/run_record.py).
 * @param {unknown} text
 * @returns {{fault: "unreadable"|"foreign"} | {fault: "", state: "off"|"alone"|"stock"|"waiting"|"steered", safety: number,
 *   risk: number, gate: number, context: number|null, calls: {progress: number, weight: number}[],
 *   rows: number, rememberedRows: number, plainRows: number, ratio: number|null, notes: string[], moved: number[], replaced: number,
 *   valued: number, guided: number, pictures: number, look: null | {steered: number, levels: number[], pictures: {level: number,
 *   steered: boolean, passed: boolean, words: string, found: {level: number, early: boolean, words: string}[]}[]}}}
 *   progress in [0, 1] from noise to picture; calls without one are left out. moved: by picture that was steered, how far the
 *   prediction was moved, as a share of it; replaced: the guided calls that the safe prompt decided alone;
 *   valued: those that took only their values from it. pictures: of a
 *   strip, its levels. look: of a sampler with a detector, how many pictures were steered, at which levels, and what was
 *   found in each; words: the safe prompt that the finds gave, "" for the linked one; state stock: nothing was found.
 */
export function readReport(text) {
  const report = objectIn(text)
  if (!report) return { fault: "unreadable" }
  if (report.format !== FORMAT) return { fault: "foreign" }
  const { safety, risk, gate, gate_open: open, harmless, context, weights, moved, replaced, rows } = report
  const { plain_rows: plainRows, remembered_rows: rememberedRows = 0, valued = 0 } = report
  const sound = [safety, risk, gate].every(isUnit) && typeof open === "boolean" && (context === null || isUnit(context)) &&
    Array.isArray(weights) && weights.every((call) => call !== null && isUnit(call?.w)) && [rows, plainRows, rememberedRows, valued].every(isNumber) &&
    Array.isArray(moved) && moved.every((share) => isNumber(share) && share >= 0) && isNumber(replaced)
  const look = sound && "look" in report ? readLook(report.look, report) : null
  if (!sound || ("look" in report && !look)) return { fault: "unreadable" }
  const steered = weights.some((call) => call.w > 0) && (replaced > 0 || valued > 0 || moved.some((share) => share > 0))
  const state = safety === 0 ? "off"
    : look ? (look.steered ? "steered" : !harmless && look.pictures.every((picture) => picture.passed) ? "stock" : "alone")
      : !open || harmless ? "alone" : steered ? "steered" : "waiting"
  const isStock = ["off", "alone", "stock"].includes(state)
  return {
    fault: "", state, safety, risk, gate, context, rows, rememberedRows, plainRows, look,
    notes: texts(report.notes).filter((note) => !isSaid(note, isStock, look !== null)),
    moved: look ? moved.filter((_, i) => look.pictures[i]?.steered) : moved, replaced, valued, guided: weights.filter((call) => call.w > 0).length, pictures: Array.isArray(report.levels) ? report.levels.length : 1,
    calls: weights.filter((call) => isUnit(call.progress)).map((call) => ({ progress: call.progress, weight: call.w })),
    ratio: plainRows > 0 ? rows / plainRows : null
  }
}

/**
 * A prompt's verdict (safelight/text/safe_prompt.py, safelight/engine/context.py).
 * @param {unknown} text
 * @returns {{fault: "unreadable"} | {fault: "", risk: number, method: string, words: string[], notes: string[],
 *   safePrompt: string, changes: string[]}} safePrompt: "" where the safe counterpart is no text; changes: its new words
 */
export function readVerdict(text) {
  const verdict = objectIn(text)
  if (!verdict || !isUnit(verdict.risk) || typeof verdict.method !== "string" || !Array.isArray(verdict.words)) {
    return { fault: "unreadable" }
  }
  return {
    fault: "", risk: verdict.risk, method: verdict.method, words: texts(verdict.words).filter(Boolean), notes: texts(verdict.notes),
    safePrompt: typeof verdict.safe_prompt === "string" ? verdict.safe_prompt : "", changes: texts(verdict.changes).filter(Boolean)
  }
}

const isFile = (file) => file !== null && typeof file?.filename === "string"
const isBatch = (files) => Array.isArray(files) && files.length > 0 && files.every(isFile)

/**
 * The pictures of a run (safelight/engine/easy.py, nodes/map.py), as the server names its files.
 * @param {unknown} text
 * @returns {{fault: "unreadable"} | {fault: "", after: object[], before?: object[], map?: object[], when?: object[]}} each
 *   the whole batch; when: the strips of when safety acted
 */
export function readPictures(text) {
  const { after, ...others } = objectIn(text) ?? {}
  const known = ["before", "map", "when"].filter((name) => others[name] !== undefined)
  const sound = isBatch(after) && known.every((name) => isBatch(others[name]) && others[name].length === after.length)
  return sound ? { fault: "", after, ...Object.fromEntries(known.map((name) => [name, others[name]])) } : { fault: "unreadable" }
}

const isList = (value, count, is) => Array.isArray(value) && value.length === count && value.every(is)

/**
 * The frames of a strip (safelight/engine/strip.py).
 * @param {unknown} text
 * @returns {{fault: "unreadable"} | {fault: "", seed: number, frames: {safety: number, pictures: object[],
 *   found?: string[], enough?: boolean[]}[]}} by level: the batch; with a detector what it found in each picture, "" for
 *   nothing, and whether the level is enough for it
 */
export function readFrames(text) {
  const { seed, frames } = objectIn(text) ?? {}
  const count = frames?.[0]?.pictures?.length
  const isFrame = (frame) => isUnit(frame?.safety) && isBatch(frame.pictures) && frame.pictures.length === count &&
    (frame.found === undefined || (isList(frame.found, count, (words) => typeof words === "string") &&
      isList(frame.enough, count, (enough) => typeof enough === "boolean")))
  return isNumber(seed) && isList(frames, frames?.length, isFrame) && count > 0 ? { fault: "", seed, frames } : { fault: "unreadable" }
}

/**
 * A text in pieces, those that are one of the words marked; a word inside another word is not marked where it stands
 * alone elsewhere (scripts without spaces have no words that stand alone).
 * @returns {{pieces: {text: string, marked: boolean}[], missing: string[]}} missing: words that the text does not have
 */
export function markWords(text, words) {
  const spans = []
  const missing = []
  for (const word of words) {
    const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
    let found = [...text.matchAll(new RegExp(`(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`, "giu"))]
    if (!found.length) found = [...text.matchAll(new RegExp(escaped, "giu"))]
    if (!found.length) missing.push(word)
    spans.push(...found.map((match) => [match.index, match.index + match[0].length]))
  }
  spans.sort((a, b) => a[0] - b[0])
  // Words with nothing but space between them are one mark.
  for (let i = spans.length - 1; i > 0; i--) {
    if (text.slice(spans[i - 1][1], spans[i][0]).trim()) continue
    spans[i - 1][1] = Math.max(spans[i - 1][1], spans[i][1])
    spans.splice(i, 1)
  }
  const pieces = []
  let at = 0
  for (const [start, end] of spans) {
    if (start > at) pieces.push({ text: text.slice(at, start), marked: false })
    pieces.push({ text: text.slice(start, end), marked: true })
    at = end
  }
  if (at < text.length) pieces.push({ text: text.slice(at), marked: false })
  return { pieces, missing }
}
