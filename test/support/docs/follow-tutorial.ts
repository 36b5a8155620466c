/** Follows docs/tutorial.md word for word on a real system, with its model file in one of the two languages. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf, type Block } from './markdown.ts'
import { openReader } from './tutorial-reader.ts'

const page = join(checkout, 'docs', 'tutorial.md')

type Language = 'typescript' | 'python'

/** Blocks that a reader of one language types or writes; the others show results. */
export const tutorialBlocks = (language: Language): Block[] =>
  blocksOf(readFileSync(page, 'utf8')).filter(
    ({ language: written, notes: { file, for: only = language } }) =>
      only === language && (written === 'sh' || file !== undefined),
  )

/** The block of an output below the block that prints it. The figures on the page are those of the model file in TypeScript. */
function outputOf({ line }: Block): Block | undefined {
  const blocks = blocksOf(readFileSync(page, 'utf8'))
  const next = blocks[blocks.findIndex((each) => each.line === line) + 1]
  return next?.language === 'text' ? next : undefined
}

/** The names at the beginning of the rows of an output, such as `requested by` or `auc`. */
const labelsOf = (output: string): string[] =>
  [...output.matchAll(/^([a-z][A-Za-z0-9 ]*?) {2,}\S/gm)].map(([, label]) => label!)

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
    async (_line, _text, block) => {
      const printed = labelsOf(await reader.follow(block))
      const { text = '' } = language === 'typescript' ? (outputOf(block) ?? {}) : {}
      const shown = labelsOf(text)
      if (shown.length === 0) return
      // A page may leave out the beginning or the end of an output, and nothing between.
      expect(printed.slice(printed.indexOf(shown[0]!), printed.lastIndexOf(shown.at(-1)!) + 1)).toEqual(shown)
    },
  )

  it('the tutorial ends with Ctrl-C', async () => {
    const [shown] = await reader.interrupt()
    expect(shown).toContain('Everything is stopped')
  })
}
