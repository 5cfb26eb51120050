// What Safelight's own parts of the page say, in the artist's language: English here, others from locales/<language>/main.json.

export const ENGLISH = {
  level: { off: "off", low: "low", medium: "medium", high: "high", full: "full" },
  feedback: {
    report: "Result of the last run",
    verdict: "Verdict of the last run",
    stale: "From other settings; run again",
    broken: "This result can't be shown: {why}",
    unreadable: "it is not readable",
    foreign: "another version of Safelight wrote it",
    steered: "Steered",
    waiting: "Not steered yet: a later stage has to",
    off: "Off: the stock sampler ran",
    alone: "Left alone: the stock sampler ran",
    plot: "Weight of the safe prompt at each call of the model",
    call: "{progress} % of the run: weight {weight}",
    settles: "layout settles",
    start: "noise",
    end: "picture",
    risk: "risk",
    open: "gate {gate} open",
    closed: "gate {gate} closed",
    work: "work",
    ratio: "{ratio} x plain sampling",
    rows: "The model evaluated {rows} rows; plain sampling takes {plain}.",
    words: "acted on",
    none: "no word stands out",
    method: "method"
  }
}

let spoken = ENGLISH

/** @param {object} [dictionary] of the form of ENGLISH; what it lacks is said in English. */
export function speak(dictionary) {
  spoken = Object.fromEntries(
    Object.entries(ENGLISH).map(([group, texts]) => [group, { ...texts, ...dictionary?.[group] }])
  )
}

/** The text at "group.key", with {name} replaced by values.name. */
export function say(path, values = {}) {
  const [group, key] = path.split(".")
  return spoken[group][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]))
}
