/** Tests that the API uses undocumented properties of Node only by `@tenure/http-front`, so that a Node upgrade is checked in one place. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'

const internals =
  /\b_(handle|httpMessage|headerSent|server|events)\b|\.emit\('connection'|NetServer\.prototype/

it('the API uses no undocumented properties of Node', () => {
  const root = join(checkout, 'api')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.(tsx?|mjs)$/.test(file),
  )
  expect(files.length).toBeGreaterThan(200)
  expect(files.filter((file) => internals.test(readFileSync(join(root, file), 'utf8')))).toEqual([])
})
