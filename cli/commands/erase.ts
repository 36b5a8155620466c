/** `tenure erase`: takes a person out of what is kept of a model, and shows what came of it. */
import { readFileSync } from 'node:fs'
import type { Client } from '../client.ts'
import { failure } from '../client.ts'
import { exitCodes } from '../exit.ts'
import type { CommandSpec, Session } from '../program.ts'
import { tableOf } from '../terminal.ts'
import { time } from './words.ts'

interface ErasureAnswer {
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

const pollMs = 500

export const eraseCommand: CommandSpec = {
  name: 'erase <model>',
  summary:
    'erases a person from the log, outcomes, batches and features of a model, and from later snapshots',
  options: [
    ['--subject <key>', 'the key of the person; - reads it from standard input, so that no history keeps it'],
    ['--predictions <ids>', 'ids of predictions that are the person’s beside those, with commas between'],
    ['--watch', 'wait for its end and show the receipt'],
  ],
  examples: [
    'erase flight-delay --subject 4711 --watch',
    'echo 4711 | tenure erase flight-delay --subject -',
  ],
  async run(session, { args, options }) {
    const { terminal, api } = session
    const given = options['subject'] as string | undefined
    if (given === undefined)
      throw failure({
        code: 'usage',
        detail: 'whom to erase is missing',
        remedy: 'Name the person with --subject.',
      })
    const subject = given === '-' ? readFileSync(0, 'utf8').trim() : given
    const predictions = options['predictions'] as string | undefined
    const begun = await api().post<{ id: string }>('/v1/erasures', {
      model: String(args[0]),
      subject,
      prediction_ids: predictions === undefined ? [] : predictions.split(',').map((id) => id.trim()),
    })
    if (options['watch'] !== true)
      return terminal.answer(
        begun,
        `${begun.id} has begun; \`tenure erasures ${begun.id}\` shows its receipt.`,
      )
    const ended = await follow(session, begun.id)
    terminal.answer(ended, receiptOf(ended))
    return exitCodes.done
  },
}

export const erasuresCommand: CommandSpec = {
  name: 'erasures [id]',
  summary: 'lists erasures, or shows the receipt of one',
  options: [['--model <model>', 'of this model only']],
  examples: ['erasures', 'erasures era_…'],
  async run({ terminal, api }, { args, options }) {
    if (args[0] !== undefined) {
      const one = await find(api(), args[0])
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

const find = (api: Client, id: string): Promise<ErasureAnswer> =>
  api.get<ErasureAnswer>(`/v1/erasures/${encodeURIComponent(id)}`)

async function follow({ terminal, api }: Session, id: string): Promise<ErasureAnswer> {
  for (;;) {
    const now = await find(api(), id)
    if (now.status === 'done') {
      terminal.progress(undefined)
      return now
    }
    terminal.progress(`${now.stage}, ${now.counts['requests'] ?? 0} requests erased`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function receiptOf({
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
