/** `tenure try`: trains, evaluates and prints the gates. Registers no version. */
import { path } from '../../client/client.ts'
import type { RetrainingAnswer } from '../../client/responses.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { readOpening } from '../follow.ts'
import { cancelRunning } from './cancel-running.ts'
import { asOfOption, readOverrides } from './training-options.ts'
import { printFollowed, followTraining, warnOfChangedFile } from './retrain.ts'

/** Verdicts for which a release would not be refused. */
const good = ['better', 'not_worse']

export const tryCommand: CommandSpec = {
  name: 'try <model>',
  summary: 'Train and evaluate without registering a version; exit code 6 if the gates would refuse it',
  options: [
    ['--set <name=value…>', 'Value of a hyperparameter, instead of the one in the model file'],
    asOfOption,
    ['--cancel', 'Cancel the running trials of the model instead of starting one'],
  ],
  examples: [
    'try iris --set units=32',
    'try flight-delay --set units=32 --set epochs=5',
    'try iris --cancel',
  ],
  async run(session, { args, options, lists }) {
    const { api } = session
    const model = String(args[0])
    if (options['cancel'] === true) return cancelRunning(session, 'trial', model)
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
