// The schedule's editor as a test sees it: by what is drawn, and by hands on it.

const FRAME = ".safelight-plot .frame"
const POINTS = '.safelight-plot .points g[role="slider"]'

/** The editor of a node's curve, in `element`. */
export class Plot {
  constructor(page, element) {
    this.page = page
    this.element = element
  }

  static async of(page, studio, id, widget = "curve") {
    return new Plot(page, await studio.element(id, widget))
  }

  /** Where progress p and weight w stand on the screen. */
  async at(p, w) {
    const { x, y, width, height } = await (await this.element.$(FRAME)).boundingBox()
    return { x: x + p * width, y: y + (1 - w) * height }
  }

  async #middle(selector, index = 0) {
    const { x, y, width, height } = await (await this.element.$$(selector))[index].boundingBox()
    return { x: x + width / 2, y: y + height / 2 }
  }

  /** Where point `index` stands on the screen. */
  point(index) {
    return this.#middle(`${POINTS} .handle`, index)
  }

  /** Where the grip of the context stands on the screen. */
  grip() {
    return this.#middle(".safelight-plot .grip")
  }

  async click({ x, y }, options) {
    await this.page.mouse.click(x, y, options)
  }

  /** One drag with the mouse, in several moves. */
  async drag(from, to) {
    const { mouse } = this.page
    await mouse.move(from.x, from.y)
    await mouse.down()
    for (const part of [0.3, 0.7, 1]) await mouse.move(from.x + part * (to.x - from.x), from.y + part * (to.y - from.y))
    await mouse.up()
  }

  /** One drag with a finger. */
  async swipe(from, to) {
    const client = await this.page.context().newCDPSession(this.page)
    const touch = (type, points) => client.send("Input.dispatchTouchEvent", { type, touchPoints: points })
    await touch("touchStart", [from])
    for (const part of [0.3, 0.7, 1]) {
      await touch("touchMove", [{ x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) }])
    }
    await touch("touchEnd", [])
    await client.detach()
  }

  /** Two taps with a finger, as quick as the machine can. */
  async tapTwice({ x, y }) {
    const client = await this.page.context().newCDPSession(this.page)
    const touch = (type, touchPoints) => client.send("Input.dispatchTouchEvent", { type, touchPoints })
    const tap = () => [touch("touchStart", [{ x, y }]), touch("touchEnd", [])]
    await Promise.all([...tap(), ...tap()])
    await client.detach()
  }

  /** Puts the focus on point `index`, or on the "context", as Tab would. */
  async focus(what) {
    const all = await this.element.$$(what === "context" ? ".safelight-plot .context" : POINTS)
    await all[what === "context" ? 0 : what].focus()
  }

  /** A button of the bar, by its label. */
  async press(label) {
    await (await this.element.$(`.safelight-bar button[aria-label^="${label}"]`)).click()
  }

  /** Chooses from the menu that is open. */
  async choose(label) {
    await this.page.locator(".safelight-menu button", { hasText: label }).click()
  }

  async text(selector) {
    return (await this.element.$(selector)).textContent()
  }

  /** The line below the plot. */
  read() {
    return this.text(".safelight-read")
  }

  /** What is drawn: the places of the points as [progress, weight], and of the context, rounded to 0.01. */
  drawn() {
    return this.element.evaluate((editor) => {
      const frame = editor.querySelector(".safelight-plot .frame").getBBox()
      const round = (number) => Math.round(number * 100) / 100 + 0
      const points = [...editor.querySelectorAll(".safelight-plot .points g[role=slider]")].map((g) => {
        const [, x, y] = g.getAttribute("transform").match(/translate\(([\d.]+) ([\d.]+)\)/).map(Number)
        return [round((x - frame.x) / frame.width), round(1 - (y - frame.y) / frame.height)]
      })
      const edge = editor.querySelector(".safelight-plot .context")
      const context = edge.getAttribute("visibility") === "hidden" ? null : Number(edge.getAttribute("aria-valuenow"))
      return { points, context, line: editor.querySelector(".safelight-plot .curve").getAttribute("d") !== "" }
    })
  }
}
