/** Writes the table of docs/reference/judges.md: what each stage judges each task by, as the check of model files reads it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'
import { judgedWords, type JudgedWord } from '../../../domain/tasks/judged-words.ts'
import { tasks } from '../../../domain/tasks/tasks.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import type { Task } from '../../../domain/tasks/task.ts'
import { markdownTable } from '../../../test/support/docs/markdown-table.ts'

const begin = '<!-- This table is written by `npm run docs` from domain/tasks/judged-words.ts. -->\n\n'
const end = '\n\n<!-- End of the written table. -->'

function table(): string {
  const all = Object.values(tasks) as unknown as Task<Output>[]
  return markdownTable(
    ['stage', 'word', ...all.map(({ word }) => `\`${word}\``)],
    Object.values<JudgedWord>(judgedWords).map(({ stage, word, of }) => [
      stage,
      word,
      ...all.map((task) => {
        const judged = of(task)
        return 'by' in judged ? judged.by : `refused: ${judged.refused}`
      }),
    ]),
  )
}

/** The page with its table new. Throws without the two comments around it. */
export function judgesPage(): string {
  const page = readFileSync(join(checkout, 'docs/reference/judges.md'), 'utf8')
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < from)
    throw new Error('docs/reference/judges.md has no place for the table of what is judged')
  return page.slice(0, from + begin.length) + table() + page.slice(to)
}
