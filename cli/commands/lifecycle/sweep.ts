/** `tenure sweep`: tries hyperparameters, selects the best on the validation rows and sends it to the gates. */
import { path, usageError } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { follow, readOpening } from '../follow.ts'
import { coloured } from '../format.ts'
import { tableBy } from '../../terminal.ts'
import { cancelRunning } from './cancel-running.ts'
import { warnOfChangedFile } from './retrain.ts'
import { asOfOption, parseHyperparameter, readPairs, type HyperparameterOption } from './training-options.ts'
import { maxSweepParallel, maxSweepTrials } from '../../../domain/training/sweep-plan.ts'
import { numberOption } from '../../number-option.ts'

interface TrialLine {
  overrides: Record<string, HyperparameterOption>
  outcome?: string
  score?: number
  message?: string
}

interface SweepAnswer {
  id: string
  stage?: string
  outcome?: string
  message?: string
  plan?: { candidates: unknown[] }
  winner?: Record<string, HyperparameterOption>
  trials: TrialLine[]
}

type Dimension = HyperparameterOption[] | { low: number; high: number }

/** Reads `units=16,32` as a list, `rate=0.001..0.1` as a range. */
export function readGrid(pairs: readonly string[] | undefined): Record<string, Dimension> {
  if (pairs === undefined) throw usageError('No hyperparameter to try; use --grid units=16,32')
  return readPairs('--grid', pairs, { use: 'units=16,32 or learningRate=0.001..0.1', read: dimensionOf })
}

function dimensionOf(values: string): Dimension | undefined {
  if (values === '') return undefined
  const ends = values.split('..')
  const [low, high, ...more] = ends.map(Number)
  const isRange = ends.length > 1 && Number.isFinite(low) && Number.isFinite(high) && more.length === 0
  if (isRange) return ends.some((end) => end.trim() === '') ? undefined : { low: low!, high: high! }
  return values.split(',').map((value) => parseHyperparameter(value.trim()))
}

const shownTrials = 10

export const sweepCommand: CommandSpec = {
  name: 'sweep <model>',
  summary:
    'Search hyperparameters by the validation rows of the split, and train and release the best if it passes the gates; exit code 6 if there is no new version',
  options: [
    [
      '--grid <name=values…>',
      'Values to try (units=16,32), or a range for --random (learningRate=0.001..0.1)',
    ],
    [
      '--random <n>',
      `Draw this many combinations at random (default: every combination); at most ${maxSweepTrials}`,
    ],
    [
      '--parallel <n>',
      `Trials that run at the same time, if enough training workers are free (default: 1, at most ${maxSweepParallel})`,
    ],
    asOfOption,
    ['--cancel', 'Cancel the running sweep of the model with its trials instead of starting one'],
  ],
  examples: [
    'sweep iris --grid units=8,16,32 --grid learningRate=0.001,0.01',
    'sweep flight-delay --grid units=8..64 --grid learningRate=0.0003..0.03 --random 30 --parallel 2',
    'sweep iris --cancel',
  ],
  async run(session, { args, options, lists }) {
    const { api, terminal } = session
    const model = String(args[0])
    if (options['cancel'] === true) return cancelRunning(session, 'sweep', model)
    const body = {
      hyperparameters: readGrid(lists['grid']),
      random: numberOption(options, 'random', { min: 1, max: maxSweepTrials, whole: true }),
      parallel: numberOption(options, 'parallel', { min: 1, max: maxSweepParallel, whole: true }),
      as_of: options['asOf'],
    }
    const { id } = await api().post<{ id: string }>(path`/v1/models/${model}/sweeps`, body)
    await warnOfChangedFile(session, model)
    const read = readOpening(() => api().get<SweepAnswer>(path`/v1/sweeps/${id}`), {
      id,
      stage: 'opening',
      trials: [],
    })
    const ended = await follow(
      terminal,
      read,
      ({ outcome }) => outcome !== undefined,
      (now) => terminal.live([lineOf(now)]),
    )
    terminal.live([])
    const scored = ended.trials.toSorted((a, b) => rank(a, ended) - rank(b, ended)).slice(0, shownTrials)
    const table = tableBy(terminal, scored, {
      hyperparameters: ({ overrides }) =>
        Object.entries(overrides)
          .map(([name, value]) => `${name}=${value}`)
          .join(' '),
      'validation score': ({ score }) => (score === undefined ? null : Number(score.toPrecision(4))),
      outcome: ({ outcome }) => outcome ?? 'running',
      ...(scored.some(({ outcome }) => outcome === 'failed') ? { reason: reasonOf } : {}),
    })
    const listed = scored.length === 0 ? '' : `${table}\n`
    terminal.answer(ended, `${listed}${coloured(terminal, ended.outcome)}: ${ended.message ?? ''}`)
    return /ended as (released|registered)/.test(ended.message ?? '') ? exitCodes.done : exitCodes.otherwise
  },
}

/**
 * Returns the line that states the error: the last one of a Python traceback, the last one before the frames of JavaScript. The page of the
 * sweep shows the whole message.
 */
const reasonOf = ({ outcome, message = '' }: TrialLine): string | null =>
  outcome === 'failed'
    ? (message
        .trimEnd()
        .split('\n')
        .findLast((line) => !/^\s+at /.test(line))
        ?.trim()
        .slice(0, 120) ?? null)
    : null

/** Sort key: the winner, then trials with a score, then the other trials. */
const rank = ({ overrides, score }: TrialLine, { winner }: SweepAnswer): number =>
  winner !== undefined && JSON.stringify(overrides) === JSON.stringify(winner)
    ? 0
    : score === undefined
      ? 2
      : 1

function lineOf({ stage = 'opening', plan, trials }: SweepAnswer): string {
  const done = trials.filter(({ outcome }) => outcome !== undefined).length
  return `${stage}  ${done} of ${plan?.candidates.length ?? '…'} trials`
}
