/** Runs the code of the README that shows an output. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

it('the example of the README prints what the README shows', () => {
  const [, code = '', output] =
    /```js\n([^]*?)```\n\nIt prints:\n\n```text\n([^]*?)```/.exec(
      readFileSync(join(root, 'README.md'), 'utf8'),
    ) ?? []
  // Inside of the checkout, where Node finds the package by its name.
  const cache = join(root, '..', '..', 'node_modules', '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'simulator-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'page.mjs')
  writeFileSync(file, code)
  expect(execFileSync(process.execPath, ['--import', 'tsx', file], { cwd: root, encoding: 'utf8' })).toBe(
    output,
  )
})
