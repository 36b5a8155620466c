/** Follows docs/tutorial.md word for word on a real system, with its model file in one of the two languages. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf, type Block } from './markdown.ts'
import { openReader } from './tutorial-reader.ts'

type Language = 'typescript' | 'python'

/** Blocks that a reader of one language types or writes; the others show results. */
export const tutorialBlocks = (language: Language): Block[] =>
  blocksOf(readFileSync(join(checkout, 'docs', 'tutorial.md'), 'utf8')).filter(
    ({ language: written, notes: { file, for: only = language } }) =>
      only === language && (written === 'sh' || file !== undefined),
  )

/** Defines the tests of the whole page. */
export function followTutorial(language: Language): void {
  const typed = tutorialBlocks(language)
  const reader = openReader()
  afterAll(() => reader.leave())

  it('the tutorial has an expectation for each block', () => {
    expect(typed.length).toBeGreaterThan(15)
    for (const { text, notes, language: written, line } of typed)
      expect(
        Object.keys(notes).filter((name) => name !== 'for'),
        `line ${line}: ${text}`,
      ).toHaveLength(written === 'sh' && text === 'npm run setup' ? 0 : 1)
  })

  it.each(typed.map((block) => [block.line, block.text.split('\n')[0], block] as const))(
    'line %d: %s',
    async (_line, _text, block) => void (await reader.follow(block)),
  )

  it('the tutorial ends with Ctrl-C', async () => {
    const [shown] = await reader.interrupt()
    expect(shown).toContain('Everything is stopped')
  })
}
