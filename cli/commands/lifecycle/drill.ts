/** `tenure drill` and `tenure drills`: rehearsed releases, and how soon what was wrong was noticed and gone. */
import { setTimeout as pause } from 'node:timers/promises'
import { drillKindNames } from '../../../domain/drill.ts'
import type { Client } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { tableOf, type Terminal } from '../../terminal.ts'
import { orDash, time } from '../format.ts'

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

export const drillCommand: CommandSpec = {
  name: 'drill <model>',
  summary: 'rehearses a release with a candidate that is known to be bad and can never be promoted',
  options: [
    ['--kind <kind>', `one of ${drillKindNames.join(', ')} (default: those of the model's policy)`],
    ['--live', 'on callers, within the harm budget (default: on copies, as the policy says)'],
    ['--harm-budget <n>', 'how many callers it may harm'],
    ['--within <seconds>', 'how long the candidate may stay before it counts as unnoticed'],
    ['--watch', 'waits for the end; exit code 6 when a defence did not show'],
  ],
  examples: [
    'drill flight-delay --kind nan --watch',
    'drill iris --live --harm-budget 20',
    'drill iris --json',
  ],
  async run({ terminal, api }, { args, options }) {
    const model = String(args[0])
    const since = new Set((await drillsOf(api(), model)).map(({ id }) => id))
    const { kind, live, within } = options
    const answer = await api().post<{ model: string; workflow_id: string }>('/v1/drills', {
      model,
      kinds: kind === undefined ? undefined : [kind],
      ...(live === true ? { traffic: 'live' } : {}),
      ...(options['harmBudget'] === undefined ? {} : { harm_budget: Number(options['harmBudget']) }),
      ...(within === undefined ? {} : { within_ms: Math.round(Number(within) * 1_000) }),
    })
    if (options['watch'] !== true) {
      terminal.answer(answer, `The drill of ${model} has begun; \`tenure drills --model ${model}\` shows it.`)
      return exitCodes.done
    }
    const held = await untilOver(api(), model, since)
    terminal.answer({ drills: held }, listOf(terminal, held))
    return held.length > 0 && held.every(({ passed }) => passed === true)
      ? exitCodes.done
      : exitCodes.otherwise
  },
}

export const drillsCommand: CommandSpec = {
  name: 'drills',
  summary: 'lists drills, the newest first',
  options: [['--model <model>', 'of this model only']],
  examples: ['drills', 'drills --model iris --json'],
  async run({ terminal, api }, { options }) {
    const drills = await drillsOf(
      api(),
      options['model'] === undefined ? undefined : String(options['model']),
    )
    terminal.answer({ drills }, listOf(terminal, drills))
  },
}

const drillsOf = async (client: Client, model?: string): Promise<DrillAnswer[]> =>
  (await client.get<{ drills: DrillAnswer[] }>('/v1/drills', { model })).drills

/** The drills that were not there before, once all of them have ended and no further one begins. */
async function untilOver(client: Client, model: string, since: ReadonlySet<string>): Promise<DrillAnswer[]> {
  for (let quiet = 0; ; await pause(pollMs)) {
    const mine = (await drillsOf(client, model)).filter(({ id }) => !since.has(id))
    quiet = mine.every(({ ended_at: endedAt }) => endedAt !== undefined) ? quiet + 1 : 0
    if (quiet >= 6) return mine.reverse()
  }
}

function listOf({ paint }: Terminal, drills: readonly DrillAnswer[]): string {
  if (drills.length === 0) return 'No drill yet. `tenure drill <model>` holds one.'
  return tableOf(
    ['started', 'model', 'drill', 'traffic', 'result', 'noticed', 'gone', 'met', 'harmed', 'because'],
    drills.map((each) => [
      time(each.started_at),
      each.model,
      each.kind,
      each.traffic,
      resultOf(each, paint),
      seconds(each.detection_ms),
      seconds(each.recovery_ms),
      orDash(each.exposed),
      each.harmed === undefined ? '–' : `${each.harmed} of ${each.harm_budget}`,
      paint('dim', orDash(each.message)),
    ]),
  )
}

function resultOf({ held, passed }: DrillAnswer, paint: Terminal['paint']): string {
  if (passed === undefined) return 'running'
  if (!held) return paint('yellow', 'not held')
  return passed ? paint('green', 'passed') : paint('red', 'failed')
}

const seconds = (ms: number | undefined): string =>
  ms === undefined ? '–' : `${Number((ms / 1_000).toPrecision(3))} s`
