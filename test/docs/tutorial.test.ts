/** Follows docs/tutorial.md word for word on a real system with test/support/docs/tutorial-reader.ts. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { openReader } from '../support/docs/tutorial-reader.ts'

const page = readFileSync(join(checkout, 'docs', 'tutorial.md'), 'utf8')
const blocks = blocksOf(page)
/** Blocks that a reader types or writes; the others show results. */
const typed = blocks.filter(({ language }) => language === 'sh' || language === 'ts')
const reader = openReader()
afterAll(() => reader.leave(), 60_000)

it('the tutorial has an expectation for each block', () => {
  expect(typed.length).toBeGreaterThan(15)
  for (const { text, notes, language, line } of typed)
    expect(Object.keys(notes), `line ${line}: ${text}`).toHaveLength(
      language === 'sh' && text === 'npm run setup' ? 0 : 1,
    )
})

it.each(typed.map((block) => [block.line, block.text.split('\n')[0], block] as const))(
  'line %d: %s',
  async (_line, _text, block) => void (await reader.follow(block)),
  300_000,
)

it('the tutorial ends with Ctrl-C', async () => {
  const [shown] = await reader.interrupt()
  expect(shown).toContain('Everything is stopped')
})
