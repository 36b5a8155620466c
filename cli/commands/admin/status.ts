/** `tenure status`: shows readiness, live versions, waiting releases and open alerts. */
import {
  judgeMinute,
  rollbackText,
  spanText,
  uncertainText,
  versionText,
} from '../../../domain/monitoring/last-minute.ts'
import {
  championMinuteOf,
  type KillSwitchAnswer,
  type ModelAnswer,
  type ReleaseAnswer,
} from '../../client/responses.ts'
import { commandProblemOf } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { tableBy, type Terminal } from '../../terminal.ts'
import { noModels, orDash, releaseStage, servesText } from '../format.ts'
import { answersText } from '../lifecycle/releases.ts'
import { groupColumns, groupOrder, type GroupAnswer } from './alerts.ts'

/** A replica is ready without the database, because predictions continue. */
const isDatabaseDown = (ready: object): ready is { database: { detail: string } } => 'database' in ready

const maxGroups = 5
/** How many models `status` lists, so that alerts stay on the screen. */
const maxModels = 20

/** Formats the groups of open alerts, which the API answers worst first. */
function alertLines(terminal: Terminal, groups: readonly GroupAnswer[]): string[] {
  const { paint } = terminal
  if (groups.length === 0) return [paint('green', 'No open alerts')]
  const more = groups.length - maxGroups
  return [
    tableBy(terminal, groups.slice(0, maxGroups), groupColumns, groupOrder),
    ...(more > 0 ? [paint('dim', `and ${more} more: tenure alerts`)] : []),
  ]
}

/** Names the models whose quality the monitor does not measure, with what is missing. */
export const unmeasuredLines = (
  models: readonly Pick<ModelAnswer, 'name' | 'quality_unmeasured' | 'parts_unmeasured'>[],
): string[] =>
  models.flatMap(({ name, quality_unmeasured: why, parts_unmeasured: parts = [] }) => [
    ...(why === undefined ? [] : [`\n${name}: quality is not measured: ${why}`]),
    ...parts.map((part) => `\n${name}: not measured in use: ${part}`),
  ])

const answersLine = (release: ReleaseAnswer): string => {
  const answers = answersText(release)
  return answers === undefined ? '' : `\n  Answer: ${answers}`
}

/**
 * One line for each champion that fails: by its last minute, or by its alert, which ends only by good requests. The alert of a version that
 * serves no more is no failure of the champion.
 */
function failingModels(models: readonly ModelAnswer[], groups: readonly GroupAnswer[]): string[] {
  // A warning tells failures that are not certain.
  const alerted = groups.filter(
    ({ kind, severity }) => kind === 'champion_failing' && severity === 'critical',
  )
  return models.flatMap((each) => {
    const { name, champion, last_minute: last } = each
    const isAlerted = alerted.some(
      ({ model, version }) => model === name && (version ?? champion?.version) === champion?.version,
    )
    if (last?.is_failing !== true && !isAlerted) return []
    const minute = championMinuteOf(each)
    const state = last?.is_failing === true ? 'fails' : 'failed, and its alert is open'
    const figures =
      minute === undefined || minute.requests === 0
        ? `no request to ${champion?.version ?? 'it'} in the last minute`
        : `${versionText(minute)} ${spanText(minute)}`
    return [`${name} ${state}: ${figures}`]
  })
}

export const statusCommand: CommandSpec = {
  name: 'status',
  summary:
    'Show health, live versions, alerts and pending approvals; exit code 3 if not ready, 1 while a model fails',
  examples: ['status', 'status --json'],
  async run({ terminal, api }) {
    const client = api()
    const ready = await client.get<Record<string, unknown>>('/readyz').then(
      (body) => ({ ok: true, ...body }),
      (error: unknown) => {
        const problem = commandProblemOf(error)
        if (problem === undefined || problem.code === 'unreachable') throw error
        return { ok: false, detail: problem.detail }
      },
    )
    const { models } = await client.get<{ models: ModelAnswer[] }>('/v1/models')
    const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', { open: true })
    const { groups } = await client.get<{ groups: GroupAnswer[] }>('/v1/alerts/groups')
    const { kill_switches: switches = [] } = await client.get<{ kill_switches?: KillSwitchAnswer[] }>(
      '/v1/kill-switches',
    )
    const { paint } = terminal
    const failing = failingModels(models, groups)
    const lines = [
      `${client.url} ${ready.ok ? (failing.length === 0 ? paint('green', 'ready') : 'ready') : paint('yellow', `not ready: ${orDash(String('detail' in ready ? ready.detail : ''))}`)}`,
      ...(isDatabaseDown(ready) ? [paint('yellow', ready.database.detail)] : []),
      ...failing.map((text) => paint('red', `✗ ${text}`)),
      ...models.flatMap((each) => {
        const minute = championMinuteOf(each)
        if (minute === undefined) return []
        const back = rollbackText(minute)
        return [
          ...(back === undefined ? [] : [paint('yellow', back)]),
          ...(judgeMinute(minute) === 'uncertain' ? [paint('yellow', `! ${uncertainText(minute)}`)] : []),
        ]
      }),
      '',
      ...alertLines(terminal, groups),
      ...switches
        .filter(({ serve }) => serve !== 'normal')
        .map(({ model, serve, actor, at, reason }) =>
          paint('yellow', `\n${model}: pinned to ${serve} by ${actor} since ${at}: ${reason}`),
        ),
      ...releases.map(
        (each) =>
          `\n${each.id} ${each.version}: ${releaseStage(each)}, ${servesText(each)}\n  ${each.warning === undefined ? orDash(each.why) : paint('yellow', `! ${each.warning}`)}${answersLine(each)}`,
      ),
      '',
      models.length === 0
        ? noModels
        : tableBy(
            terminal,
            models.slice(0, maxModels),
            {
              model: 'name',
              champion: (each) => each.champion?.version,
              since: (each) => each.champion?.since,
              'failed (last min)': ({ last_minute: minute }) =>
                minute === undefined || minute.requests === 0
                  ? '–'
                  : `${minute.failed} of ${minute.requests}`,
            },
            { keeps: ['champion', 'failed (last min)'] },
          ),
      ...(models.length > maxModels
        ? [paint('dim', `${maxModels} of ${models.length} models: tenure models`)]
        : []),
      ...unmeasuredLines(models).slice(0, maxModels),
    ]
    terminal.answer(
      { url: client.url, ready, models, kill_switches: switches, releases, alert_groups: groups },
      lines.join('\n'),
    )
    if (!ready.ok) return exitCodes.unreachable
    return failing.length === 0 ? exitCodes.done : exitCodes.failing
  },
}
