/**
 * Follows README.md word for word on a real system with test/support/docs/tutorial-reader.ts.
 *
 * Types `npm start` and presses Ctrl-C when setup is complete and the demo's story begins, because the story takes minutes; `npm start --
 * --exit` tests its end. The other commands run on `tenure up`, which continues without the story. `npm test` runs this test itself.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { blocksOf, type Block } from '../support/docs/markdown.ts'
import { openReader } from '../support/docs/tutorial-reader.ts'

const read = (path: string) => readFileSync(join(checkout, path), 'utf8')
const blocks = blocksOf(read('README.md'))
const typed = blocks.filter(({ language, notes }) => language === 'sh' && notes['is'] === undefined)
const reader = openReader()
afterAll(() => reader.leave())

it('the README has an expectation for each block', () => {
  expect(typed.map(({ text }) => text.split('\n')[0])).toContain('npm start')
  for (const { language, notes, line } of blocks)
    expect(Object.keys(notes), `line ${line}`).toHaveLength(language === 'text' ? 0 : 1)
})

it.each(typed.map((block) => [block.line, block.text.split('\n')[0], block] as const))(
  'line %d: %s',
  async (_line, _text, block) => {
    await reader.follow(block)
    if (block.text !== 'npm start') return
    expect(await reader.interrupt()).toEqual([expect.stringMatching(/set-up: [^]*First champion/)])
    await reader.follow({ ...block, text: 'npx tenure up', notes: { stays: 'Ctrl-C stops everything' } })
  },
)

it('the README ends with Ctrl-C', async () => {
  expect(await reader.interrupt()).toEqual([expect.stringContaining('Everything is stopped')])
})

it('the README names npm test, which runs this test', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  expect(blocks.find(({ notes }) => notes['is'] === 'the tests')?.text).toBe('npm test')
  expect(scripts['test']).toMatch(/vitest run --project pure --project programs --project real$/)
})

it('the README quotes files exactly, in their order', () => {
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
