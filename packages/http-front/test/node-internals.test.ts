/** Tests that only one file uses undocumented properties of Node, so that a Node upgrade is checked in one place. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const internals =
  /\b_(handle|httpMessage|headerSent|server|events)\b|\.emit\('connection'|NetServer\.prototype/

it('only node-internals.ts uses undocumented properties of Node', () => {
  const root = join(import.meta.dirname, '..', 'src')
  const files = readdirSync(root).filter((file) => file.endsWith('.ts'))
  expect(files.length).toBeGreaterThan(5)
  const using = files.filter((file) => internals.test(readFileSync(join(root, file), 'utf8')))
  expect(using).toEqual(['node-internals.ts'])
})
