/** `tenure status`: shows readiness, live versions, waiting releases and open alerts. */
import type { AlertAnswer, KillSwitchAnswer, ModelAnswer, ReleaseAnswer } from '../../client/responses.ts'
import { commandProblemOf } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandSpec } from '../../program.ts'
import { tableBy, type Terminal } from '../../terminal.ts'
import { noModels, orDash, prose, releaseStage, time, servesText } from '../format.ts'

/** A replica is ready without the database, because predictions continue. */
const isDatabaseDown = (ready: object): ready is { database: { detail: string } } => 'database' in ready

export const severityStyles = {
  critical: ['red', '✗'],
  warning: ['yellow', '!'],
  info: ['dim', '·'],
} as const
const maxAlerts = 5
/** How many models `status` lists, so that alerts stay on the screen. */
const maxModels = 20
/** All that the API answers: a critical alert may be older than a hundred warnings. */
export const openAlertsQuery = { open: true, limit: 1_000 } as const

/** Formats the open alerts, most severe first. */
export function alertLines(
  { paint }: Terminal,
  alerts: readonly Omit<AlertAnswer, 'id'>[],
  url: string,
): string[] {
  if (alerts.length === 0) return ['', paint('green', 'No open alerts')]
  const order = Object.keys(severityStyles)
  const worstFirst = alerts.toSorted(
    (one, other) => order.indexOf(one.severity) - order.indexOf(other.severity),
  )
  const shown = worstFirst
    .slice(0, maxAlerts)
    .map(({ severity, model, kind, message, raised_at: at, acknowledged_by: by }) => {
      const [style, mark] = severityStyles[severity]
      const assignee = by === undefined ? '' : `, acknowledged by ${by}`
      const subject = model == null ? kind : `${model} ${kind}`
      return `${paint(style, `${mark} ${severity}`)} ${subject}: ${message} ${paint('dim', `(${time(at)} UTC${assignee})`)}`
    })
  const more = alerts.length - shown.length
  return ['', ...shown, paint('dim', `${more > 0 ? `and ${more} more: ` : ''}${url}/alerts`)]
}

/** Names the models whose quality the monitor does not measure, with what is missing. */
export const unmeasuredLines = (
  models: readonly Pick<ModelAnswer, 'name' | 'quality_unmeasured' | 'parts_unmeasured'>[],
): string[] =>
  models.flatMap(({ name, quality_unmeasured: why, parts_unmeasured: parts = [] }) => [
    ...(why === undefined ? [] : [`\n${name}: quality is not measured: ${prose(why)}`]),
    ...parts.map((part) => `\n${name}: not measured in use: ${prose(part)}`),
  ])

/** One line for each model that fails: by its last minute, or by the alert of its champion, which ends only by good requests. */
function failingModels(models: readonly ModelAnswer[], alerts: readonly AlertAnswer[]): string[] {
  const alerted = new Set(alerts.flatMap(({ kind, model }) => (kind === 'champion_failing' ? [model] : [])))
  return models.flatMap(({ name, champion, last_minute: minute }) =>
    minute?.is_failing === true || alerted.has(name)
      ? [
          `${name} fails: ${minute === undefined || minute.requests === 0 ? 'no request in the last minute' : `${minute.failed} of ${minute.requests} requests failed in the last minute`}${champion === undefined ? '' : ` (${champion.version})`}`,
        ]
      : [],
  )
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
    const { alerts } = await client.get<{ alerts: AlertAnswer[] }>('/v1/alerts', openAlertsQuery)
    const { kill_switches: switches = [] } = await client.get<{ kill_switches?: KillSwitchAnswer[] }>(
      '/v1/kill-switches',
    )
    const { paint } = terminal
    const failing = failingModels(models, alerts)
    const lines = [
      `${client.url} ${ready.ok ? (failing.length === 0 ? paint('green', 'ready') : 'ready') : paint('yellow', `not ready: ${orDash(String('detail' in ready ? ready.detail : ''))}`)}`,
      ...(isDatabaseDown(ready) ? [paint('yellow', ready.database.detail)] : []),
      ...failing.map((text) => paint('red', `✗ ${text}`)),
      ...alertLines(terminal, alerts, client.url),
      ...switches
        .filter(({ serve }) => serve !== 'normal')
        .map(({ model, serve, actor, at, reason }) =>
          paint('yellow', `\n${model}: pinned to ${serve} by ${actor} since ${time(at)} UTC: ${reason}`),
        ),
      ...releases.map(
        (each) =>
          `\n${each.id} ${each.version}: ${releaseStage(each)}, ${servesText(each)}\n  ${each.warning === undefined ? prose(each.why) : paint('yellow', `! ${each.warning}`)}`,
      ),
      '',
      models.length === 0
        ? noModels
        : tableBy(terminal, models.slice(0, maxModels), {
            model: 'name',
            champion: (each) => each.champion?.version,
            'since (UTC)': (each) => time(each.champion?.since),
            'failed (last min)': ({ last_minute: minute }) =>
              minute === undefined || minute.requests === 0 ? '–' : `${minute.failed} of ${minute.requests}`,
          }),
      ...(models.length > maxModels
        ? [paint('dim', `${maxModels} of ${models.length} models: tenure models`)]
        : []),
      ...unmeasuredLines(models).slice(0, maxModels),
    ]
    terminal.answer(
      { url: client.url, ready, models, kill_switches: switches, releases, alerts },
      lines.join('\n'),
    )
    if (!ready.ok) return exitCodes.unreachable
    return failing.length === 0 ? exitCodes.done : exitCodes.failing
  },
}
