/** Words how the candidate's answers and effects compare with the champion's. */
import { fourDigits, percentText, ratioOf } from '../../domain/figures.ts'
import { sumOf } from '../../domain/statistics/distributions.ts'
import type { AnswerEvidence } from '../../store/release/answer-evidence.ts'
import { tableBy, type Terminal } from '../terminal.ts'

/** Returns tables that compare the candidate's predictions with the champion's, worst slices first; empty before the first prediction. */
export function answersTable(
  terminal: Terminal,
  { disagreement, answers, business, external }: AnswerEvidence,
): string {
  const parts: string[] = []
  if (disagreement !== undefined) {
    const { all, slices, max, changes } = disagreement
    const title = `Disagreement in the shadow (limit ${percentText(max)})`
    const table = tableBy(terminal, [all, ...slices], {
      slice: 'name',
      users: 'pairs',
      differs: ({ mean }) => (mean === null ? null : percentText(mean)),
      interval: ({ low, high }) => `${percentText(low)} to ${percentText(high)}`,
      limit: ({ above }, { paint }) => (above ? paint('yellow', 'above') : 'not exceeded'),
    })
    const changed = changes.slice(0, 5).map(({ from, to, count }) => `${from} → ${to}: ${count}`)
    parts.push(`\n\n${terminal.paint('bold', title)}\n${table}\n${changed.join('\n')}`.trimEnd())
  }
  if (answers !== undefined) {
    const { names, canary, control, perKey = 1 } = answers
    const of = (counts: readonly number[], i: number) =>
      percentText(ratioOf(counts[i] ?? 0, sumOf(counts) / perKey))
    const table = tableBy(
      terminal,
      names.map((name, i) => ({ name, i })),
      {
        answer: 'name',
        candidate: ({ i }) => of(canary, i),
        champion: ({ i }) => of(control, i),
      },
    )
    parts.push(`\n\n${terminal.paint('bold', 'Share of each answer')}\n${table}`)
  }
  if (business !== undefined && business.length > 0) {
    const table = tableBy(terminal, business, {
      metric: 'name',
      candidate: ({ means }) => fourDigits(means?.canary ?? null, '–'),
      champion: ({ means }) => fourDigits(means?.control ?? null, '–'),
      gain: ({ gain }) => (gain === null ? '–' : percentText(gain)),
      users: ({ users }) => users.canary + users.control,
      loss: lossCell,
    })
    parts.push(`\n\n${terminal.paint('bold', 'What users did after their first request')}\n${table}`)
  }
  if (external !== undefined && external.length > 0) {
    const table = tableBy(terminal, external, {
      metric: 'name',
      source: 'source',
      candidate: ({ means }) => fourDigits(means?.canary ?? null, '–'),
      against: ({ means, limit }) => fourDigits(limit ?? means?.control ?? null, '–'),
      windows: 'windows',
      loss: lossCell,
      'source says': ({ problem }) => problem ?? '–',
    })
    parts.push(`\n\n${terminal.paint('bold', 'What other systems measured')}\n${table}`)
  }
  return parts.join('')
}

const lossCell = (
  { worseLogE, threshold }: { worseLogE: number; threshold: number },
  { paint }: Terminal,
): string => (worseLogE >= threshold ? paint('yellow', 'proven') : 'not proven')
