/** `tenure drills`: rehearses rollbacks and lists their detection and recovery times. */
import { setTimeout as pause } from 'node:timers/promises'
import { drillKindNames } from '../../../domain/drill.ts'
import { usageError, type Client } from '../../client/client.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import type { CommandGroup, CommandInput, CommandSession } from '../../program.ts'
import { tableBy, type ColumnOrder, type Columns, type Terminal } from '../../terminal.ts'
import { orDash } from '../format.ts'
import { listCommand } from '../list.ts'
import { numberOption } from '../../number-option.ts'

interface DrillAnswer {
  id: string
  model: string
  kind: string
  traffic: string
  held: boolean
  passed?: boolean
  message?: string
  detection_ms?: number
  recovery_ms?: number
  exposed?: number
  harmed?: number
  harm_budget: number
  started_at: string
  ended_at?: string
}

const pollMs = 500
/** How long `--watch` waits for the first drill to begin: a worker may be busy or starting. */
const beginMs = 60_000

const none = 'No drills yet. Start one: `tenure drills run <model>`'
const columns: Columns<DrillAnswer> = {
  started: 'started_at',
  model: 'model',
  drill: 'kind',
  traffic: 'traffic',
  result: (each, { paint }) => resultOf(each, paint),
  'detected in': (each) => seconds(each.detection_ms),
  'recovered in': (each) => seconds(each.recovery_ms),
  exposed: 'exposed',
  affected: (each) => (each.harmed === undefined ? '–' : `${each.harmed} of ${each.harm_budget}`),
  reason: (each, { paint }) => paint('dim', orDash(each.message)),
}
const order: ColumnOrder = {
  keeps: ['result', 'model', 'drill'],
  droppable: ['exposed', 'affected', 'traffic', 'recovered in'],
}

export const drillsGroup: CommandGroup = {
  name: 'drills',
  summary: 'Rehearse rollbacks with a deliberately faulty version',
  commands: [
    listCommand<DrillAnswer>({
      summary: 'List drills, newest first',
      ofModels: true,
      examples: ['drills', 'drills iris --json'],
      path: '/v1/drills',
      field: 'drills',
      columns,
      none,
      pages: 'limit',
      ...order,
    }),
    {
      name: 'run <model>',
      summary: 'Rehearse a rollback with a deliberately faulty version (never promoted)',
      options: [
        [
          '--kind <kind>',
          "Fault: bad (failed requests), nan (values that are not finite), slow, silent (requests that are not counted), lost-replica or dead-worker (default: the kinds of the model's policy)",
        ],
        ['--live', 'Use live traffic, within the failure budget (default: as the policy says)'],
        [
          '--failure-budget <n>',
          'Maximum number of failed requests (default: as the policy says, 50 without one)',
        ],
        ['--within <seconds>', 'Time limit for detection (default: as the policy says, 600 without one)'],
        ['--watch', 'Wait for the end; exit code 6 if a drill does not pass'],
      ],
      examples: [
        'drills run flight-delay --kind nan --watch',
        'drills run iris --live --failure-budget 20',
        'drills run iris --json',
      ],
      run: runDrills,
    },
  ],
}

async function runDrills(
  { terminal, api }: CommandSession,
  { args, options }: CommandInput,
): Promise<ExitCode> {
  const model = String(args[0])
  const { kind, live } = options
  if (kind !== undefined && !drillKindNames.some((each) => each === kind))
    throw usageError(`--kind must be one of ${drillKindNames.join(', ')}, not ${String(kind)}`)
  const withinS = numberOption(options, 'within', { min: 0.001, max: 86_400 })
  const harmBudget = numberOption(options, 'failure-budget', { min: 0, max: 1_000_000, whole: true })
  const since = new Set((await drillsOf(api(), model)).map(({ id }) => id))
  const answer = await api().post<{ model: string; workflow_id: string }>('/v1/drills', {
    model,
    kinds: kind === undefined ? undefined : [kind],
    traffic: live === true ? 'live' : undefined,
    harm_budget: harmBudget,
    within_ms: withinS && Math.round(withinS * 1_000),
  })
  if (options['watch'] !== true) {
    terminal.answer(answer, `Drill of ${model} started. Follow it: \`tenure drills list ${model}\``)
    return exitCodes.done
  }
  const ended = await awaitDrillsEnd(api(), model, since)
  terminal.answer(
    { drills: ended },
    ended.length === 0 ? notBegun(model) : tableBy(terminal, ended, columns, order),
  )
  return ended.length > 0 && ended.every(({ passed }) => passed === true)
    ? exitCodes.done
    : exitCodes.otherwise
}

const drillsOf = async (client: Client, model: string): Promise<DrillAnswer[]> =>
  (await client.get<{ drills: DrillAnswer[] }>('/v1/drills', { model })).drills

const notBegun = (model: string): string =>
  `No drill of ${model} has begun within ${beginMs / 1_000} s. Check that a worker runs: \`tenure doctor\`, then \`tenure drills list ${model}\``

/** Waits until all drills started since are over and no further drill starts. Returns none when the first does not begin in time. */
async function awaitDrillsEnd(
  client: Client,
  model: string,
  since: ReadonlySet<string>,
): Promise<DrillAnswer[]> {
  const untilMs = Date.now() + beginMs
  for (let quiet = 0; ; await pause(pollMs)) {
    const mine = (await drillsOf(client, model)).filter(({ id }) => !since.has(id))
    if (mine.length === 0 && Date.now() < untilMs) continue
    quiet = mine.every(({ ended_at: endedAt }) => endedAt !== undefined) ? quiet + 1 : 0
    if (quiet >= 6) return mine.reverse()
  }
}

function resultOf({ held, passed }: DrillAnswer, paint: Terminal['paint']): string {
  if (passed === undefined) return 'running'
  if (!held) return paint('yellow', 'skipped')
  return passed ? paint('green', 'passed') : paint('red', 'failed')
}

const seconds = (ms: number | undefined): string =>
  ms === undefined ? '–' : `${Number((ms / 1_000).toPrecision(3))} s`
