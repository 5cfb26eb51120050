// What the schedule's editor costs per move of the pointer, in the page: median and worst of 1,000 moves of a drag.
//
//   python tests/browser/standin.py FRONTEND --port 8188, then node tests/browser/pointer_cost.mjs
//
// Environment as for the tests (harness.mjs). A move is measured from the event's dispatch to the end of its work, which
// includes what the page's own listeners and widgets do, and once more with the layout that the browser then has to do.
// The worst of a case is mostly the garbage collector's.
import { test, FRONTEND, MODE } from "./harness.mjs"
import { Plot } from "./plot.mjs"

const MOVES = 1000
const EIGHT = { points: [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i / 7, i % 2 ? 0.9 : 0.3]), interpolation: "monotone_cubic" }

const CASES = [
  ["a point of the smooth curve, with 20 steps", { curve: EIGHT }, (plot) => plot.point(3)],
  ["the edge of the context, with 20 steps", { curve: EIGHT }, (plot) => plot.grip()],
  ["looking along the curve", { curve: EIGHT }, (plot) => plot.at(0.5, 0.05)]
]

test("pointer cost", async ({ page, studio }) => {
  for (const [name, { curve }, from] of CASES) {
    await studio.clear()
    const id = await studio.add("SafelightWeightSchedule", { at: [200, 160], values: { preset: "custom" } })
    await studio.set(id, "curve", curve)
    const sampler = await studio.add("SafelightKSampler", { at: [700, 160], values: { safety: 0.7, scheduler: "normal" } })
    await studio.connect(id, 0, sampler, "schedule")
    await page.waitForTimeout(1500)
    const plot = await Plot.of(page, studio, id)
    const start = await from(plot)
    await page.mouse.move(start.x, start.y)
    await page.mouse.down()
    const times = await plot.element.evaluate(
      async (editor, [start, count]) => {
        const svg = editor.querySelector(".safelight-plot > svg")
        const { width } = editor.querySelector(".frame").getBoundingClientRect()
        const times = []
        for (let i = 0; i < count; i++) {
          const clientX = start.x + Math.sin(i / 9) * (width / 20)
          const clientY = start.y + Math.cos(i / 7) * 20
          const event = new PointerEvent("pointermove", { bubbles: true, pointerId: 1, pointerType: "mouse", clientX, clientY })
          const before = performance.now()
          svg.dispatchEvent(event)
          const done = performance.now()
          svg.getBoundingClientRect() // the layout that the next frame would do
          times.push([done - before, performance.now() - before])
          if (i % 20 === 19) await new Promise(requestAnimationFrame)
        }
        return times
      },
      [start, MOVES]
    )
    await page.mouse.up()
    const say = (column) => {
      const sorted = times.map((pair) => pair[column]).sort((a, b) => a - b)
      return `${sorted[MOVES / 2].toFixed(2)} / ${sorted[MOVES - 1].toFixed(2)} ms`
    }
    console.log(`${FRONTEND} ${MODE}: ${name}: ${say(0)}, with layout ${say(1)} (median / worst of ${MOVES})`)
  }
})
