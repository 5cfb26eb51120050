// What Safelight's own parts of the page say, in the artist's language: English here, others from locales/<language>/main.json.

export const ENGLISH = {
  level: { off: "off", low: "low", medium: "medium", high: "high", full: "full" },
  feedback: {
    report: "Result of the last run",
    verdict: "Verdict of the last run",
    about: "About the map of the last run",
    easy: "Picture of the last run",
    details: "Details",
    advanced: "Advanced",
    stale: "From other settings; run again",
    broken: "This result can't be shown: {why}",
    unreadable: "it is not readable",
    foreign: "another version of Safelight wrote it",
    sampling: "Sampling",
    steered: "Steered",
    waiting: "Not steered yet: a later stage has to",
    off: "Off: the stock sampler ran",
    alone: "Left alone: the stock sampler ran",
    stock: "Nothing found: the stock sampler ran",
    unlooked: "No detector looked: at this level something unsafe may still show.",
    steeredSome: "Steered: {steered} of {pictures} pictures",
    look: "look",
    picture: "picture {number}",
    nothingFound: "nothing found: the stock picture",
    clearAt: "nothing found at safety {level}",
    enough: "safety {level} was enough",
    notEnough: "still found at safety {level}",
    notSteered: "found, and not steered",
    onTheWay: "{words} on the way at {level}",
    inPicture: "{words} in the picture at {level}",
    byWords: "by “{words}”",
    furtherPictures: "{count} more pictures: in {found} something is still found",
    plot: "Weight of the safe prompt at each call of the model",
    call: "{progress} % of the run: weight {weight}",
    settles: "layout settles",
    start: "noise",
    end: "picture",
    risk: "risk",
    open: "triggered (gate {gate})",
    closed: "below the gate ({gate}): left alone",
    change: "change",
    moved: "{share} % of the prediction",
    replaced: "{replaced} of {guided} guided calls by the safe prompt alone",
    whole: "the safe prompt alone decides the guided calls",
    valued: "{valued} of {guided} guided calls: keys from the prompt, values from the safe prompt",
    work: "cost",
    ratio: "{ratio} x a plain run",
    ratioOfStrip: "{ratio} x {pictures} plain runs",
    rows: "The model evaluated {rows} rows; plain sampling takes {plain}.",
    remembered: "{rows} rows remembered",
    words: "acted on",
    safePrompt: "safe prompt",
    none: "no word stands out",
    method: "method"
  },
  typing: {
    title: "Unsafe words of the prompt",
    keep: "Keep “{words}”",
    kept: "kept",
    becomes: "becomes “{text}”",
    leaveOut: "Leave it out",
    leftOut: "left out",
    write: "Write your own ...",
    instead: "What to show instead of “{words}”",
    reset: "As Safelight chooses"
  },
  wipe: {
    handle: "Between before and after",
    at: "{share} % before",
    before: "before",
    after: "after",
    map: "Where it changed",
    when: "When safety acted, from noise to picture",
    picture: "Picture {number} of {count}",
    previous: "Previous picture",
    next: "Next picture",
    gone: "The pictures are no longer on the server; run again."
  },
  strip: {
    frames: "The pictures of the strip",
    frame: "safety {level}",
    picture: "picture {number}",
    nothing: "nothing found",
    enough: "enough",
    here: "the slider's place",
    set: "safety of {nodes} set to {level}",
    linked: "safety of {nodes} comes from a link, and stays",
    none: "No Safelight sampler here has the strip's prompts.",
    add: "Add Safelight KSampler at {level}",
    added: "Safelight KSampler added at {level}"
  },
  editor: {
    plot: "Weight curve over the run",
    context: "Context",
    contextAt: "the prompt as written steers alone until {place}",
    point: "Point {number} of {count}",
    pointAt: "at {place} of the run, weight {weight}",
    weight: "weight",
    run: "run",
    runBy: "run, by {axis}",
    before: "as written",
    begins: "begins here at safety {safety}",
    beginsSooner: "begins here: few steps",
    between: "Between the points",
    linear: "Linear",
    monotone_cubic: "Smooth (monotone cubic)",
    step: "Steps (hold each height)",
    copySchedule: "Copy the schedule as JSON",
    pasteSchedule: "Paste a schedule (JSON)",
    resetSchedule: "Reset the schedule",
    more: "More",
    add: "Add point here",
    delete: "Delete point",
    copy: "Copy as JSON",
    paste: "Paste JSON",
    edit: "Edit as text",
    show: "Show as text",
    reset: "Reset",
    text: "Schedule as JSON",
    use: "Use",
    close: "Close",
    copyHere: "Copy this text.",
    pasteHere: "Paste the text here.",
    added: "Point {number} added at {place}",
    deleted: "Point {number} deleted",
    noRoom: "No room for a point here.",
    keepsTwo: "A curve keeps two points.",
    copied: "Copied.",
    pasted: "Pasted.",
    wasReset: "Reset.",
    presetLinked: "The preset comes from a link.",
    curveLinked: "The curve comes from the link.",
    contextLinked: "The context comes from a link.",
    linkedWaits: "The linked curve acts with the preset custom.",
    linkedCurve: "The linked curve, to be edited there.",
    fixed: "This curve cannot be edited here.",
    mend: "Reset it, paste another, or edit its text.",
    alone: "as written alone (weight 0)",
    stepOf: "step {number} of {count}",
    weightIs: "weight {weight}",
    weightTimes: "weight {weight} × √safety",
    weightProduct: "weight {product} = {weight} × √{safety}",
    until: "as written alone until {place}",
    fromStart: "would guide from the start",
    off: "safety 0: nothing is guided",
    guided: "would guide {count} of {all} steps",
    lowered: "context lowered to {place}: so few steps"
  },
  fault: {
    json: "Not valid JSON: {why}",
    empty: "The curve is empty.",
    type: "This value is not a curve.",
    form: "A curve is an object with points.",
    twoPoints: "A curve needs at least two points.",
    point: "Point {number} is not a pair of numbers from 0 to 1.",
    same: "Two points at progress {place}: move or delete one of them.",
    interpolation: "Unknown interpolation {name}: use {names}.",
    zero: "The curve is zero everywhere: nothing would be guarded. Raise a point.",
    zeroAfter: "The curve is zero from the context on: nothing would be guarded. Raise it, or lower the context.",
    zeroSteps: "The curve is zero at each step of this run: nothing would be guarded. Raise it, or use more steps.",
    preset: "There is no preset {name}.",
    context: "The context is not a number from 0 to 1."
  }
}

let spoken = ENGLISH
let templates = {}

/**
 * @param {object} [dictionary] of the form of ENGLISH; what it lacks is said in English. Its `templates` has the texts of
 *   the pack's templates, by the English ones.
 */
export function speak(dictionary) {
  templates = dictionary?.templates ?? {}
  spoken = Object.fromEntries(
    Object.entries(ENGLISH).map(([group, texts]) => [group, { ...texts, ...dictionary?.[group] }])
  )
}

/** The text at "group.key", with {name} replaced by values.name. */
export function say(path, values = {}) {
  const [group, key] = path.split(".")
  return spoken[group][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]))
}

/** The texts of the pack's templates in the page's language, by the English ones. */
export const templateTexts = () => templates
