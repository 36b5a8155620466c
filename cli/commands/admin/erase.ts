/** `tenure erase`: takes a person out of what is kept of a model, and shows what came of it. */
import { readFileSync } from 'node:fs'
import { failure } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec, Session } from '../../program.ts'
import { findErasure, receiptOf, type ErasureAnswer } from './erasures.ts'

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

async function follow({ terminal, api }: Session, id: string): Promise<ErasureAnswer> {
  for (;;) {
    const now = await findErasure(api(), id)
    if (now.status === 'done') {
      terminal.progress(undefined)
      return now
    }
    terminal.progress(`${now.stage}, ${now.counts['requests'] ?? 0} requests erased`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
