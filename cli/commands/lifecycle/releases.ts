/** `tenure releases`: lists, starts and shows releases with their evidence. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type {
  CommandAnswer,
  EvaluationAnswer,
  RecordedAnswer,
  ReleaseAnswer,
  WaitingAnswer,
} from '../../client/responses.ts'
import { failure, type Client } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { chartsSvg, chartsText, type ChartedRelease } from './release-charts.ts'
import { tableOf, type Terminal } from '../../terminal.ts'
import { isDeferredAnswer, deferredText, type CommandReply } from '../deferred.ts'
import { coloured, orDash, share, digestPrefix, time } from '../format.ts'

export const commandsGroup: CommandGroup = {
  name: 'commands',
  summary: 'Show commands that were queued while Temporal was unreachable',
  commands: [
    {
      name: 'show <id>',
      summary: 'Show whether a queued command was delivered',
      examples: ['commands show cmd_01h…', 'commands show cmd_01h… --json'],
      async run({ terminal, api }, { args }) {
        const answer = await api().get<RecordedAnswer>(`/v1/commands/${encodeURIComponent(String(args[0]))}`)
        const { state, command, model, release = model, message, recorded_at: at } = answer
        terminal.answer(answer, `${state}: ${command} of ${time(at)} to ${release}: ${message}`)
      },
    },
  ],
}

export const releasesGroup: CommandGroup = {
  name: 'releases',
  summary: 'List, start and show releases',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'List releases, newest first, and the release queue',
      options: [
        ['--model <model>', 'Only this model'],
        ['--open', 'Only releases that have not ended'],
      ],
      examples: ['releases', 'releases list --model iris --open', 'releases --json'],
      async run({ terminal, api }, { options }) {
        const answer = await api().get<{ releases: ReleaseAnswer[]; waiting?: WaitingAnswer[] }>(
          '/v1/releases',
          { model: options['model'], open: options['open'] },
        )
        const queue = queueLines(terminal, answer.waiting ?? [])
        terminal.answer(answer, [releaseTable(terminal, answer.releases), ...queue].join('\n'))
      },
    },
    {
      name: 'start <version>',
      summary: 'Start a release of a registered version, or queue it behind the open one',
      options: [
        ['--hotfix <reason>', 'Use the hotfix plan and replace an open release (approvers and admins)'],
      ],
      examples: [
        'releases start flight-delay_v1.4.0',
        'releases start iris_v2.0.1 --hotfix "wrong unit in production"',
      ],
      async run({ terminal, api }, { args, options }) {
        const version = String(args[0])
        const { model } = await api().get<{ model: string }>(`/v1/versions/${encodeURIComponent(version)}`)
        const answer = await api().post<Partial<CommandReply>>('/v1/releases', {
          model,
          version,
          hotfix: options['hotfix'] === undefined ? undefined : { reason: options['hotfix'] },
        })
        if (isDeferredAnswer(answer)) return terminal.answer(answer, deferredText(version, answer))
        terminal.answer(answer, answer.message ?? `Releasing ${version} as ${answer.id ?? ''}`)
      },
    },
    {
      name: 'show <release>',
      summary: 'Show a release: state, offline gates, stages, evidence, verdicts and commands',
      options: [
        ['--decisions <n>', 'Number of latest verdicts (default: 10)'],
        ['--svg <file>', 'Also write the charts to an SVG file'],
      ],
      examples: [
        'releases show rel_01h…',
        'releases show iris --decisions 3',
        'releases show iris --svg iris.svg',
        'releases show iris --json',
      ],
      async run({ terminal, api }, { args, options }) {
        const most = Number(options['decisions'] ?? 10)
        if (!Number.isInteger(most) || most < 0)
          throw failure({
            code: 'usage',
            detail: `--decisions must be a whole number from 0, not ${options['decisions']}`,
          })
        const id = await findReleaseId(api(), String(args[0]))
        const answer = await api().get<ReleaseDetail>(`/v1/releases/${encodeURIComponent(id)}`)
        const evaluation = await evaluationOf(api(), answer.version)
        const nowMs = Date.now()
        const charts = chartsText(answer, evaluation, { width: Math.min(terminal.columns, 110), nowMs })
        const drawn = charts
          .map(({ title, text }) => `\n\n${terminal.paint('bold', title)}\n${text}`)
          .join('')
        const svg = options['svg'] === undefined ? undefined : resolve(String(options['svg']))
        if (svg !== undefined) await drawTo(svg, await chartsSvg(answer, evaluation, { nowMs }))
        const shown = detailOf(terminal, answer, most)
        terminal.answer(
          { ...answer, evaluation, ...(svg === undefined ? {} : { svg }) },
          `${shown}${gateOf(terminal, evaluation)}${drawn}${svg === undefined ? '' : `\n\nCharts written to ${svg}`}`,
        )
      },
    },
  ],
}

async function drawTo(file: string, svg: string): Promise<void> {
  await writeFile(file, svg).catch((error: Error) => {
    throw failure({ code: 'usage', detail: `${file} is not writable: ${error.message}` })
  })
}

/** The offline evaluation that the release is based on. */
async function evaluationOf(client: Client, version: string): Promise<EvaluationAnswer> {
  const { evaluation_id: id } = await client.get<{ evaluation_id: string }>(
    `/v1/versions/${encodeURIComponent(version)}`,
  )
  return client.get<EvaluationAnswer>(`/v1/evaluations/${encodeURIComponent(id)}`)
}

interface ReleaseDetail extends ReleaseAnswer, Pick<ChartedRelease, 'state' | 'decisions'> {
  commands: CommandAnswer[]
  /** Commands queued while Temporal was unreachable and not delivered yet. */
  recorded?: RecordedAnswer[]
}

/** A release by its id, or the latest of a model by the model's name. */
export async function findReleaseId(
  client: { get<T>(path: string, query?: Record<string, string | number | boolean | undefined>): Promise<T> },
  named: string,
): Promise<string> {
  if (named.startsWith('rel_')) return named
  const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', { model: named })
  return releases[0]?.id ?? named
}

function releaseTable(terminal: Terminal, releases: readonly ReleaseAnswer[]): string {
  if (releases.length === 0) return 'No releases yet. Start one: `tenure retrain <model>`'
  return tableOf(
    ['release', 'version', 'stage', 'serves', 'outcome', 'started', 'reason'],
    releases.map((each) => [
      each.id,
      each.version,
      [
        each.stage,
        ...(each.paused ? ['(paused)'] : []),
        ...(each.drill ? [`(drill: ${each.drill})`] : []),
      ].join(' '),
      trafficOf(each),
      coloured(terminal, each.outcome),
      time(each.started_at),
      terminal.paint('dim', orDash(each.reason)),
    ]),
  )
}

/** The share of traffic that the version serves now, also after the release has ended; in shadow, the copied share. */
const trafficOf = (each: ReleaseAnswer): string =>
  each.stage === 'shadow' ? `${share(each.share_bp)} copied` : share(each.traffic_bp ?? each.share_bp)

function queueLines({ paint }: Terminal, waiting: readonly WaitingAnswer[]): string[] {
  const open = waiting.filter(({ state }) => state === 'waiting')
  if (open.length === 0) return []
  const rows = open.map((each) => [
    each.queue_id,
    each.version,
    each.requested_by,
    time(each.at),
    orDash(each.hotfix),
  ])
  return [
    '',
    paint('bold', 'Release queue'),
    tableOf(['queue id', 'version', 'requested by', 'since', 'hotfix'], rows),
  ]
}

function gateOf(
  { paint }: Terminal,
  { id, verdict, baseline_version: against, report }: EvaluationAnswer,
): string {
  const { metrics = [] } = report
  if (metrics.length === 0) return ''
  const figure = (value: number | null) => (value === null ? '–' : String(Number(value.toPrecision(4))))
  const rows = metrics.map((each) => [
    each.metric,
    figure(each.champion),
    figure(each.challenger),
    figure(each.baseline),
    figure(each.delta),
    each.low === null ? '–' : `${figure(each.low)} to ${figure(each.high)}`,
    each.verdict.replace('_', ' '),
  ])
  const title = `Offline gates: ${verdict.replace('_', ' ')} (against ${against ?? 'floors'}, ${id})`
  const head = ['metric', 'champion', 'challenger', 'baseline', 'gain', 'interval', 'verdict']
  return `\n\n${paint('bold', title)}\n${tableOf(head, rows)}`
}

function detailOf(terminal: Terminal, release: ReleaseDetail, most: number): string {
  const { paint } = terminal
  const facts = [
    ['version', release.version],
    ['replaces', orDash(release.baseline_version)],
    ['strategy', release.strategy],
    ['stage', `${release.stage}${release.paused ? ' (paused)' : ''}, ${share(release.share_bp)}`],
    ['serves now', `${share(release.traffic_bp ?? 0)} of traffic`],
    ['outcome', coloured(terminal, release.outcome)],
    ['why', orDash(release.reason ?? release.why)],
    ['requested by', release.requested_by],
    ['started', time(release.started_at)],
    ['ended', time(release.ended_at)],
    ['artifact', digestPrefix(release.artifact_digest)],
    ['evaluation', digestPrefix(release.evaluation_digest)],
    ['policy', digestPrefix(release.policy_digest)],
  ].map(([name = '', value = '']) => [paint('dim', name), value])
  const commands = release.commands.map((each) => [
    time(each.at),
    each.actor,
    each.command,
    each.accepted ? paint('green', 'accepted') : paint('yellow', 'rejected'),
    each.message,
  ])
  const recorded = (release.recorded ?? []).map((each) => [
    time(each.recorded_at),
    each.actor,
    each.command,
    paint('yellow', each.state),
    each.id,
  ])
  const verdicts = release.decisions
    .slice(0, most)
    .map((each) => [
      time(each.at),
      `${each.stage} ${each.stage === 'canary' ? each.stage_index + 1 : ''}`.trim(),
      coloured(terminal, each.kind),
      each.reasons.map(({ message }) => message).join('; '),
    ])
  return [
    paint('bold', release.id),
    tableOf([], facts),
    ...(commands.length === 0
      ? []
      : ['', tableOf(['at', 'actor', 'command', 'result', 'message'], commands)]),
    ...(recorded.length === 0
      ? []
      : ['', tableOf(['at', 'actor', 'queued command', 'state', 'id'], recorded)]),
    ...(verdicts.length === 0 ? [] : ['', tableOf(['at', 'stage', 'verdict', 'reason'], verdicts)]),
  ].join('\n')
}
