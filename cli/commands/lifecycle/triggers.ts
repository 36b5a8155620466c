/** `tenure triggers`: lists the triggers of retrainings and batches, and fires a trigger. */
import { outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { path } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { orDash } from '../format.ts'
import { listCommand } from '../list.ts'
import { readOverrides } from './training-options.ts'

interface TriggerAnswer {
  model: string
  trigger: string
  waits_for: string
  fired_at?: string
  outcome?: string
  next_at?: string
  problem?: string
}

export const triggersGroup: CommandGroup = {
  name: 'triggers',
  summary: 'List what starts retrainings and batches, and fire a trigger',
  commands: [
    listCommand<TriggerAnswer>({
      summary: 'List the triggers of model files',
      ofModels: true,
      pages: 'cursor',
      keeps: ['outcome', 'trigger', 'problem'],
      droppable: ['last fired'],
      examples: ['triggers', 'triggers flight-delay --json'],
      path: '/v1/triggers',
      field: 'triggers',
      columns: {
        model: 'model',
        trigger: 'trigger',
        'waits for': 'waits_for',
        'last fired': 'fired_at',
        outcome: (each) => orDash(each.outcome && outcomeText(each.outcome)),
        next: 'next_at',
        problem: (each, { paint }) => paint('yellow', orDash(each.problem)),
      },
      none: 'No model file has a schedule or a trigger. Add one: retrain: [cron(…), whenFile(…)]',
    }),
    {
      name: 'fire <model> <trigger>',
      summary: 'Fire a trigger now',
      options: [['--set <name=value…>', 'Parameter of the webhook, or the day of a batch: date=2026-11-01']],
      examples: ['triggers fire flight-delay file', 'triggers fire flight-delay webhook --set region=eu'],
      async run({ terminal, api }, { args, lists }) {
        const [model, trigger] = args.map(String)
        const fired = await api().post<{ id: string; message: string }>(
          path`/v1/models/${model!}/triggers/${trigger!}`,
          { parameters: readOverrides(lists['set']) },
        )
        terminal.answer(fired, `${fired.id}: ${fired.message}`)
      },
    },
  ],
}
