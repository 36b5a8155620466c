/** `tenure erasures`: erases a subject from the stored data of a model, and shows the receipt. */
import { path, usageError, type Client } from '../../client/client.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import { confirm, yesOption } from '../confirm.ts'
import type { CommandGroup, CommandInput, CommandSession } from '../../program.ts'
import { textOrInput } from '../../read-text.ts'
import { follow } from '../follow.ts'
import { listCommand } from '../list.ts'

interface ErasureAnswer {
  id: string
  model: string
  status: 'running' | 'done' | 'nothing_found'
  stage: string
  requested_by: string
  requested_at: string
  counts: Record<string, number>
  outstanding: string[]
  notes: string[]
  snapshots: { digest: string; holds: string; drop_after: string; dropped_at?: string }[]
}

export const erasuresGroup: CommandGroup = {
  name: 'erasures',
  summary: 'Delete the data of a person, and show the receipts',
  commands: [
    listCommand<ErasureAnswer>({
      summary: 'List erasures',
      ofModels: true,
      pages: 'cursor',
      keeps: ['stage', 'model'],
      droppable: ['requested', 'outcomes', 'requests'],
      examples: ['erasures', 'erasures iris'],
      path: '/v1/erasures',
      field: 'erasures',
      none: 'No erasures',
      columns: {
        erasure: 'id',
        model: 'model',
        stage: (each) => each.stage.replaceAll('_', ' '),
        requests: (each) => each.counts['requests'] ?? 0,
        outcomes: (each) => each.counts['outcomes'] ?? 0,
        'requested by': 'requested_by',
        requested: 'requested_at',
      },
    }),
    {
      name: 'show <id>',
      summary: 'Show the receipt of an erasure',
      examples: ['erasures show era_…'],
      async run({ terminal, api }, { args }) {
        const erasure = await getErasure(api(), String(args[0]))
        terminal.answer(erasure, receiptOf(erasure))
      },
    },
    {
      name: 'create <model>',
      summary:
        'Erase a person from the log, outcomes, batches and features of a model, and from later snapshots',
      options: [
        [
          '--subject <key>',
          'Key of the person, as data and requests name it; - reads it from standard input, to keep it out of the shell history',
        ],
        ['--predictions <ids>', 'Ids of further predictions of the person, separated by commas'],
        ['--watch', 'Wait for the end and show the receipt; exit code 6 if the key was found nowhere'],
        yesOption,
      ],
      examples: [
        'erasures create flight-delay --subject 4711 --watch',
        'echo 4711 | tenure erasures create flight-delay --subject -',
      ],
      run: createErasure,
    },
  ],
}

async function createErasure(
  { terminal, api }: CommandSession,
  { args, options }: CommandInput,
): Promise<ExitCode> {
  const given = options['subject'] as string | undefined
  if (given === undefined)
    throw usageError('--subject is missing', 'Name the subject to erase with --subject.')
  const subject = textOrInput(given)
  await confirm(terminal, options, async () => {
    await api().get(path`/v1/models/${args[0]}`)
    return `Erase the subject from log, outcomes, batches and features of ${args[0]}, for good?`
  })
  const predictions = options['predictions'] as string | undefined
  const started = await api().post<{ id: string }>('/v1/erasures', {
    model: args[0],
    subject,
    prediction_ids: predictions === undefined ? [] : predictions.split(',').map((id) => id.trim()),
  })
  if (options['watch'] !== true) {
    terminal.answer(
      started,
      `Erasure ${started.id} started. Follow it: \`tenure erasures show ${started.id}\``,
    )
    return exitCodes.done
  }
  const ended = await follow(
    terminal,
    () => getErasure(api(), started.id),
    ({ status }) => status !== 'running',
    ({ stage, counts }) => terminal.progress(`${stage}, ${counts['requests'] ?? 0} requests erased`),
  )
  terminal.answer(ended, receiptOf(ended))
  return ended.status === 'done' ? exitCodes.done : exitCodes.otherwise
}

const getErasure = (api: Client, id: string): Promise<ErasureAnswer> =>
  api.get<ErasureAnswer>(path`/v1/erasures/${id}`)

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
      `  ${digest.slice(0, 19)}… ${holds === 'yes' ? 'holds' : 'may hold'} the subject; ${
        droppedAt === undefined ? `dropped after ${dropAfter}` : `dropped ${droppedAt}`
      }`,
  )
  return [
    `${id} of ${model}: ${status === 'running' ? `at ${stage}` : status.replaceAll('_', ' ')}`,
    ...found,
    ...(held.length === 0 ? [] : ['snapshots:', ...held]),
    ...(outstanding.length === 0
      ? []
      : [
          `replicas that did not acknowledge in time (their late rows are filtered): ${outstanding.join(', ')}`,
        ]),
    ...notes,
  ].join('\n')
}
