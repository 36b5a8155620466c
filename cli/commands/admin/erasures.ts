/** `tenure erasures`: what was erased, where, and which snapshots go when. */
import type { Client } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { time } from '../format.ts'

export interface ErasureAnswer {
  id: string
  model: string
  status: 'running' | 'done'
  stage: string
  requested_by: string
  requested_at: string
  counts: Record<string, number>
  outstanding: string[]
  notes: string[]
  snapshots: { digest: string; holds: string; drop_after: string; dropped_at?: string }[]
}

export const erasuresCommand: CommandSpec = {
  name: 'erasures [id]',
  summary: 'lists erasures, or shows the receipt of one',
  options: [['--model <model>', 'of this model only']],
  examples: ['erasures', 'erasures era_…'],
  async run({ terminal, api }, { args, options }) {
    if (args[0] !== undefined) {
      const one = await findErasure(api(), args[0])
      return terminal.answer(one, receiptOf(one))
    }
    const answer = await api().get<{ erasures: ErasureAnswer[] }>('/v1/erasures', {
      model: options['model'] as string | undefined,
    })
    const rows = answer.erasures.map((each) => [
      each.id,
      each.model,
      each.status === 'done' ? 'done' : each.stage,
      String(each.counts['requests'] ?? 0),
      String(each.counts['outcomes'] ?? 0),
      each.requested_by,
      time(each.requested_at),
    ])
    terminal.answer(
      answer,
      tableOf(['erasure', 'model', 'stage', 'requests', 'outcomes', 'by', 'asked (UTC)'], rows),
    )
  },
}

export const findErasure = (api: Client, id: string): Promise<ErasureAnswer> =>
  api.get<ErasureAnswer>(`/v1/erasures/${encodeURIComponent(id)}`)

export function receiptOf({
  id,
  model,
  status,
  stage,
  counts,
  outstanding,
  notes,
  snapshots,
}: ErasureAnswer): string {
  const found = Object.entries(counts).map(([what, count]) => `  ${what.replaceAll('_', ' ')}: ${count}`)
  const held = snapshots.map(
    ({ digest, holds, drop_after: dropAfter, dropped_at: droppedAt }) =>
      `  ${digest.slice(0, 19)}… ${holds === 'yes' ? 'holds' : 'may hold'} the person; ${
        droppedAt === undefined ? `it goes after ${time(dropAfter)}` : `removed ${time(droppedAt)}`
      }`,
  )
  return [
    `${id} of ${model}: ${status === 'done' ? 'done' : `at ${stage}`}`,
    ...found,
    ...(held.length === 0 ? [] : ['snapshots:', ...held]),
    ...(outstanding.length === 0
      ? []
      : [
          `replicas that said nothing in time (what they still hold is kept out when it comes): ${outstanding.join(', ')}`,
        ]),
    ...notes,
  ].join('\n')
}
