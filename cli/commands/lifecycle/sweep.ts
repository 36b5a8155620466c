/**
 * `tenure sweep` tries hyperparameters, selects the best on the validation rows and sends it to the gates; `tenure sweeps` lists sweeps, shows
 * one and cancels a running one.
 */
import { path, usageError } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import { follow, readOpening } from '../follow.ts'
import { coloured } from '../format.ts'
import { tableBy, type Columns, type Terminal } from '../../terminal.ts'
import { cancelCommand, findRunId, listRunsCommand, pairsText } from './runs.ts'
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
  model?: string
  requested_by?: string
  started_at?: string
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
  ],
  examples: [
    'sweep iris --grid units=8,16,32 --grid learningRate=0.001,0.01',
    'sweep flight-delay --grid units=8..64 --grid learningRate=0.0003..0.03 --random 30 --parallel 2',
  ],
  async run(session, { args, options, lists }) {
    const { api, terminal } = session
    const model = String(args[0])
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
    terminal.answer(ended, endText(terminal, ended))
    return /ended as (released|registered)/.test(ended.message ?? '') ? exitCodes.done : exitCodes.otherwise
  },
}

/** Formats the best trials and the end of a sweep, or how far it is. */
function endText(terminal: Terminal, sweep: SweepAnswer): string {
  const scored = sweep.trials.toSorted((a, b) => rank(a, sweep) - rank(b, sweep)).slice(0, shownTrials)
  const columns: Columns<TrialLine> = {
    hyperparameters: ({ overrides }) => pairsText(overrides),
    'validation score': ({ score }) => (score === undefined ? null : Number(score.toPrecision(4))),
    outcome: ({ outcome }) => outcome ?? 'running',
    ...(scored.some(({ outcome }) => outcome === 'failed') ? { reason: reasonOf } : {}),
  }
  const table = tableBy(terminal, scored, columns, { keeps: ['validation score', 'outcome'] })
  const listed = scored.length === 0 ? '' : `${table}\n`
  return (
    listed +
    (sweep.outcome === undefined
      ? lineOf(sweep)
      : `${coloured(terminal, sweep.outcome)}: ${sweep.message ?? ''}`)
  )
}

export const sweepsGroup: CommandGroup = {
  name: 'sweeps',
  summary: 'List sweeps, show one with its trials, and cancel a running one',
  commands: [
    listRunsCommand<SweepAnswer>('sweep', {
      summary: 'List sweeps, newest first',
      columns: { trials: ({ plan }) => plan?.candidates.length },
      droppable: ['trials'],
      none: 'No sweep. Start one: `tenure sweep <model> --grid units=16,32`.',
    }),
    {
      name: 'show <sweep-or-model>',
      summary: 'Show a sweep, or the last one of a model, with its best trials',
      examples: ['sweeps show iris', 'sweeps show iris --json'],
      async run({ terminal, api }, { args }) {
        const id = await findRunId(api(), 'sweep', String(args[0]))
        const sweep = await api().get<SweepAnswer>(path`/v1/sweeps/${id}`)
        terminal.answer(sweep, endText(terminal, sweep))
      },
    },
    cancelCommand('sweep', 'Cancel a running sweep, or that of a model, with its trials'),
  ],
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
