/** Writes the tables of docs/reference/judges.md: what each stage judges each task by, as the check of model files reads it, and by which loss. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { judgedWords, type JudgedWord } from '../../../domain/tasks/judged-words.ts'
import { judgedLoss, rowLosses } from '../../../domain/tasks/losses.ts'
import { tasks } from '../../../domain/tasks/tasks.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import type { Task } from '../../../domain/tasks/task.ts'
import { markdownTable } from '../../../test/support/docs/markdown-table.ts'

const begin = '<!-- This table is written by `npm run docs` from domain/tasks/judged-words.ts. -->\n\n'
const between = `

### One loss

The gate's primary metric is the goal of every stage. Where it is an average over rows, outcomes are judged by the loss of those rows; else by a loss
that stands in for it. A version keeps the loss of its own gate. A custom metric with a \`standIn\` that is an average over rows is judged by that.

`
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

const own = 'a function of the model file'

/** The loss of each primary metric, and what counts as 1. */
function lossTable(): string {
  const all = Object.values(tasks) as unknown as Task<Output>[]
  return markdownTable(
    ['label', 'loss', 'judges the primary metric', 'stands in for', 'a loss of 1'],
    all.flatMap(({ word, losses, gate }) =>
      Object.entries(rowLosses).flatMap(([loss, { name, scale }]) => {
        if (!Object.hasOwn(losses, loss)) return []
        const policy = defaultGatePolicy(gate.name)
        const custom = { [own]: { better: 'lower' as const } }
        const judged = [
          ...gate.metrics.map((primary) => ({
            metric: `\`${primary}\``,
            ...judgedLoss({ ...policy, primary }),
          })),
          { metric: own, ...judgedLoss({ ...policy, primary: own, standIn: gate.primary, custom }) },
        ].filter((each) => each.loss === loss)
        const of = (isStandIn: boolean) =>
          judged
            .filter((each) => (each.standsInFor !== undefined) === isStandIn)
            .map(({ metric }) => metric)
            .join(', ')
        return [[`\`${word}\``, name, of(false), of(true), scale]]
      }),
    ),
  )
}

/** The page with its tables new. Throws without the two comments around it. */
export function judgesPage(): string {
  const page = readFileSync(join(checkout, 'docs/reference/judges.md'), 'utf8')
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < from)
    throw new Error('docs/reference/judges.md has no place for the table of what is judged')
  return page.slice(0, from + begin.length) + table() + between + lossTable() + page.slice(to)
}
