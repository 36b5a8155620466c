/**
 * README.md, followed word for word on a real system, as test/support/reader.ts says.
 *
 * `npm start` is what runs: from the set-up until its story begins, and then beside what a reader types in another terminal. The
 * story itself takes minutes; its end is what `npm start -- --exit` answers for. `npm test` is what runs this.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { blocksOf, type Block } from '../support/markdown.ts'
import { openReader } from '../support/reader.ts'

const read = (path: string) => readFileSync(join(checkout, path), 'utf8')
const blocks = blocksOf(read('README.md'))
const typed = blocks.filter(({ language, notes }) => language === 'sh' && notes['is'] === undefined)
const reader = openReader()
afterAll(() => reader.leave(), 60_000)

it('says of each block what a test must look for', () => {
  expect(typed.map(({ text }) => text.split('\n')[0])).toContain('npm start')
  for (const { language, notes, line } of blocks)
    expect(Object.keys(notes), `line ${line}`).toHaveLength(language === 'text' ? 0 : 1)
})

it.each(typed.map((block) => [block.line, block.text.split('\n')[0], block] as const))(
  'line %d: %s',
  async (_line, _text, block) => void (await reader.follow(block)),
  180_000,
)

it('ends with Ctrl-C', async () => expect(await reader.interrupt()).toHaveLength(1), 60_000)

it('names npm test, which is what runs this', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  expect(blocks.find(({ notes }) => notes['is'] === 'the tests')?.text).toBe('npm test')
  expect(scripts['test']).toMatch(/vitest run$/)
})

it('shows nothing of a file that is not in it, in the order of the file', () => {
  const isExcerpt = ({ text, notes }: Block) => {
    const lines = read(notes['excerpt'] ?? '').split('\n')
    let at = 0
    return text.split('\n').filter((line) => {
      if (line.trim() === '// …') return false
      const found = lines.indexOf(line, at)
      if (found !== -1) at = found + 1
      return found === -1
    })
  }
  const excerpts = blocks.filter(({ notes }) => notes['excerpt'] !== undefined)
  expect(excerpts.length).toBeGreaterThan(0)
  for (const block of excerpts) expect(isExcerpt(block)).toEqual([])
})
