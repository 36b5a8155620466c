/** Packs Tenure and follows docs/how-to/projects/start-your-own-project.md word for word in an empty folder, with npm's real registry. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { openReader } from '../support/docs/tutorial-reader.ts'

const page = readFileSync(join(checkout, 'docs/how-to/projects/start-your-own-project.md'), 'utf8')
const typed = blocksOf(page).filter(({ notes }) => Object.keys(notes).length > 0)
const reader = openReader({ empty: true })

beforeAll(() => {
  const packed = execFileSync('npm', ['run', '--silent', 'pack'], { cwd: checkout, encoding: 'utf8' })
  const file = packed.trim().split('\n').at(-1) ?? ''
  copyFileSync(join(checkout, file), join(reader.directory, basename(file)))
}, 600_000)
// Deletes half a gigabyte of packages.
afterAll(() => reader.leave(), 600_000)

it('the page has an expectation for each block', () => {
  expect(typed.length).toBeGreaterThan(10)
  expect(blocksOf(page)).toHaveLength(typed.length)
})

it.each(typed.map((block) => [block.line, block.text.split('\n')[0], block] as const))(
  'line %d: %s',
  async (_line, _text, block) => void (await reader.follow(block)),
  1_200_000,
)

it('the project ends with Ctrl-C', async () => {
  const [shown] = await reader.interrupt()
  expect(shown).toContain('Everything is stopped')
})
