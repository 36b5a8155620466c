/** `tenure try` trains, evaluates and prints the gates, and registers no version; `tenure trials` lists trials, shows one and cancels a running one. */
import { path } from '../../client/client.ts'
import type { RetrainingAnswer } from '../../client/responses.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import { readOpening } from '../follow.ts'
import { cancelCommand, findRunId, listRunsCommand, pairsText } from './runs.ts'
import { asOfOption, readOverrides } from './training-options.ts'
import { printFollowed, followTraining, printShown, warnOfChangedFile } from './retrain.ts'

/** Verdicts for which a release would not be refused. */
const good = ['better', 'not_worse']

export const tryCommand: CommandSpec = {
  name: 'try <model>',
  summary: 'Train and evaluate without registering a version; exit code 6 if the gates would refuse it',
  options: [
    ['--set <name=value…>', 'Value of a hyperparameter, instead of the one in the model file'],
    asOfOption,
  ],
  examples: ['try iris --set units=32', 'try flight-delay --set units=32 --set epochs=5'],
  async run(session, { args, options, lists }) {
    const { api } = session
    const model = String(args[0])
    const { id } = await api().post<{ id: string }>(path`/v1/models/${model}/trials`, {
      as_of: options['asOf'],
      hyperparameters: readOverrides(lists['set']),
    })
    await warnOfChangedFile(session, model)
    const read = readOpening(() => api().get<RetrainingAnswer>(path`/v1/trials/${id}`), {
      stage: 'opening',
    } as RetrainingAnswer)
    const followed = await followTraining(session, read)
    const { verdict } = await printFollowed(session, followed, 'Nothing was registered.')
    return verdict !== undefined && good.includes(verdict) ? exitCodes.done : exitCodes.otherwise
  },
}

interface TrialAnswer extends RetrainingAnswer {
  overrides?: Record<string, unknown>
  score?: number
}

export const trialsGroup: CommandGroup = {
  name: 'trials',
  summary: 'List trials, show one with its loss and its gates, and cancel running ones',
  commands: [
    listRunsCommand<TrialAnswer>('trial', {
      summary: 'List trials, also those of sweeps, newest first',
      columns: {
        hyperparameters: ({ overrides = {} }) => pairsText(overrides),
        score: ({ score }) => (score === undefined ? null : Number(score.toPrecision(4))),
      },
      keeps: ['hyperparameters', 'score'],
      none: 'No trial. Start one: `tenure try <model> --set units=32`.',
    }),
    {
      name: 'show <trial-or-model>',
      summary: 'Show a trial, or the last one of a model: its checks, its loss and its gates',
      examples: ['trials show iris', 'trials show iris --json'],
      async run(session, { args }) {
        const client = session.api()
        const id = await findRunId(client, 'trial', String(args[0]))
        await printShown(session, await client.get<RetrainingAnswer>(path`/v1/trials/${id}`))
      },
    },
    cancelCommand(
      'trial',
      'Cancel a running trial, or those of a model, and wait until their processes have exited',
    ),
  ],
}
