/** Writes docs/states.md: what every stage of a release does with everything that can happen, asked of the machine itself. */
import { writeFileSync } from 'node:fs'
import { statesPage } from '../test/support/states-page.ts'

const path = new URL('../docs/states.md', import.meta.url)
writeFileSync(path, await statesPage())
console.log(`written: ${path.pathname}`)
