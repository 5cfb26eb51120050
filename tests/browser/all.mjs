// Every test file in one process, so that they share one browser and one page.
import { readdirSync } from "node:fs"

const here = new URL(".", import.meta.url)
for (const file of readdirSync(here).sort()) if (file.endsWith(".test.mjs")) await import(new URL(file, here))
