/** `tenure reviews`: lists the predictions that wait for human review, and records reviews. */
import { path } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { tableBy } from '../../terminal.ts'

interface Waiting {
  prediction_id: string
  at: string
  version: string
  row: Record<string, number | string | null>
  outputs: number[]
  answer: string | boolean
}

interface QueueAnswer {
  model: string
  waiting: Waiting[]
  strata: Record<'band' | 'rest', { predictions: number; known: number; right: number }>
  estimate: { accuracy: number | null; error: number | null; pooled: number | null }
}

export const reviewsGroup: CommandGroup = {
  name: 'reviews',
  summary: 'List the predictions that wait for a review, and store reviews',
  commands: [
    {
      name: 'list <model>',
      summary: 'List the answers that wait for a review, the oldest first, and the accuracy with reviews',
      options: [['--limit <n>', 'Number of answers (default: 100)']],
      examples: ['reviews list flight-delay', 'reviews list flight-delay --limit 10 --json'],
      async run({ terminal, api }, { args, options }) {
        const limit = options['limit'] === undefined ? undefined : String(options['limit'])
        const queue = await api().get<QueueAnswer>(path`/v1/models/${args[0]}/reviews`, {
          ...(limit !== undefined && { limit }),
        })
        const table =
          queue.waiting.length === 0
            ? 'No answer waits for a review.'
            : tableBy(
                terminal,
                queue.waiting,
                {
                  prediction: 'prediction_id',
                  at: 'at',
                  answer: ({ answer, outputs }) =>
                    `${answer} (${Number(Math.max(...outputs).toPrecision(3))})`,
                  row: ({ row }) => JSON.stringify(row),
                },
                { keeps: ['answer', 'row'] },
              )
        const { accuracy, error, pooled } = queue.estimate
        const share = (value: number) => `${Number((100 * value).toPrecision(3))} %`
        const accuracyText =
          accuracy === null || error === null || pooled === null
            ? 'Accuracy: unknown; it needs reviews in the band and outcomes outside.'
            : `Accuracy: ${share(accuracy)} ± ${share(2 * error)} (without weights ${share(pooled)}).`
        terminal.answer(queue, `${table}\n${accuracyText}`)
      },
    },
    {
      name: 'answer <model> <prediction> <value>',
      summary: 'Store a review of a prediction: the right class, or true or false',
      examples: ['reviews answer flight-delay 01890a5d-ac96-774b-bcce-b302099a8057 true'],
      async run({ terminal, api }, { args }) {
        const text = String(args[2])
        const value = text === 'true' ? true : text === 'false' ? false : text
        const taken = await api().post<{ stored: number }>(path`/v1/models/${args[0]}/reviews`, {
          reviews: [{ prediction_id: String(args[1]), value }],
        })
        terminal.answer(
          taken,
          taken.stored === 0 ? 'The same review was already stored.' : 'The review is stored.',
        )
      },
    },
  ],
}
