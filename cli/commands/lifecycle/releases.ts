/** `tenure releases`: lists, starts and shows releases with their evidence. */
import { costText } from '../../../domain/model/cost.ts'
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type {
  CommandAnswer,
  EvaluationAnswer,
  RecordedAnswer,
  ReleaseAnswer,
  VersionAnswer,
  WaitingAnswer,
  JudgedParts,
} from '../../client/responses.ts'
import { concernsOf } from '../../../domain/evaluation/reasons.ts'
import type { BehaviourResult, BehaviourRow } from '../../../domain/behaviour/behaviour-test.ts'
import { beside, compressionText, fidelityLine } from '../../../domain/evaluation/compression.ts'
import { challengerText } from '../../../domain/evaluation/metric-table.ts'
import { gateVerdictText, metricVerdictText } from '../../../domain/evaluation/verdict-words.ts'
import {
  capitalized,
  gainText,
  levelPercent,
  metricText,
  fourDigits,
  percentText,
  ratioOf,
  counted,
} from '../../../domain/figures.ts'
import type { AnswerEvidence } from '../../../store/release/evidence.ts'
import { path, usageError, type Client } from '../../client/client.ts'
import type { CommandGroup, CommandInput } from '../../program.ts'
import { findReleaseId, releaseVerbs } from './release-commands.ts'
import { percentOf } from '../../../api/charts/figures.ts'
import { chartsSvg, chartsText, stageName, type ChartedRelease } from './release-charts.ts'
import { watchRelease } from './watch-release.ts'
import { factsTable, tableBy, type ColumnOrder, type Columns, type Terminal } from '../../terminal.ts'
import { deferredText, type CommandReply } from '../deferred.ts'
import { coloured, digestPrefix, releaseOutcome, releaseStage, servesText, orDash } from '../format.ts'
import { listCommand } from '../list.ts'
import { numberOption } from '../../number-option.ts'
import { sumOf } from '@tenure/sequential'
import { answeredOtherwise } from '../../../domain/canary/predicted-answers.ts'
import { fairnessLine } from '../../../domain/evaluation/fairness.ts'
import { worstSlicesFirst } from '../../../domain/evaluation/slices.ts'

const noReleases = ({ open }: CommandInput['options'], firstStep?: string): string =>
  open === true
    ? 'No release is open.'
    : `No releases yet. ${firstStep ?? 'Train a version: `tenure retrain <model>`, or bring one: `tenure versions register <model> --artifact FILE`'}`

/** Names the commands that answer a release which waits for a person. */
export function answersText({ id, stage }: Pick<ReleaseAnswer, 'id' | 'stage'>): string | undefined {
  if (stage === 'awaiting_approval') return `\`tenure approve ${id}\` or \`tenure reject ${id}\``
  if (stage === 'awaiting_decision')
    return `\`tenure approve ${id}\`, \`tenure resume ${id}\` for more time, or \`tenure reject ${id}\``
  return undefined
}

const releaseColumns: Columns<ReleaseAnswer> = {
  release: 'id',
  version: 'version',
  outcome: ({ outcome, withdrawn_at: at }, terminal) =>
    at === undefined ? coloured(terminal, outcome) : terminal.paint('red', 'promoted, rolled back'),
  stage: releaseStage,
  serves: (each) => servesText(each),
  started: 'started_at',
  reason: (each, { paint }) => paint('dim', orDash(each.withdrawn_reason ?? each.reason)),
}

const queueColumns: Columns<WaitingAnswer> = {
  'queue id': 'queue_id',
  version: 'version',
  'requested by': 'requested_by',
  since: 'at',
  hotfix: 'hotfix',
}

function queueBelow(terminal: Terminal, { waiting = [] }: { waiting?: unknown }): string {
  const queue = (waiting as WaitingAnswer[]).filter(({ state }) => state === 'waiting')
  if (queue.length === 0) return ''
  return `${terminal.paint('bold', 'Release queue')}\n${tableBy(terminal, queue, queueColumns, { keeps: ['version'] })}`
}

export const releasesGroup: CommandGroup = {
  name: 'releases',
  alias: 'release',
  summary: 'List, start and show releases, and decide about them',
  commands: [
    listCommand<ReleaseAnswer>({
      summary: 'List releases, newest first, and the release queue',
      ofModels: true,
      options: [['--open', 'Only releases that have not ended']],
      examples: ['releases', 'releases iris --open', 'releases --json'],
      path: '/v1/releases',
      field: 'releases',
      pages: 'limit',
      none: noReleases,
      columns: releaseColumns,
      keeps: ['outcome', 'version'],
      droppable: ['started', 'reason', 'serves', 'stage'],
      below: queueBelow,
    }),
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
        const { model } = await api().get<VersionAnswer>(path`/v1/versions/${version}`)
        const answer = await api().post<Partial<CommandReply>>('/v1/releases', {
          model,
          version,
          hotfix: options['hotfix'] === undefined ? undefined : { reason: options['hotfix'] },
        })
        const begun = answer.message ?? `Releasing ${version} as ${answer.id ?? ''}`
        terminal.answer(answer, deferredText(version, answer) ?? begun)
      },
    },
    {
      name: 'show <release>',
      summary: 'Show a release: state, offline gates, stages, evidence, verdicts and commands',
      options: [
        ['--decisions <n>', 'Number of latest verdicts, at most 1000 (default: 10)'],
        ['--commands <n>', 'Number of latest commands, at most 1000 (default: 20)'],
        ['--svg <file>', 'Also write the charts to an SVG file'],
      ],
      examples: [
        'releases show rel_01h…',
        'releases show iris --decisions 3',
        'releases show iris --svg iris.svg',
        'releases show iris --json',
      ],
      async run({ terminal, api }, { args, options }) {
        const bounds = { min: 0, max: maxShown, whole: true }
        const most = {
          decisions: numberOption(options, 'decisions', bounds) ?? 10,
          commands: numberOption(options, 'commands', bounds) ?? 20,
        }
        const id = await findReleaseId(api(), String(args[0]))
        const limit = Math.max(minCharted, most.decisions, most.commands)
        const answer = await api().get<ReleaseDetail>(path`/v1/releases/${id}`, { limit })
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
          `${shown}${gateTable(terminal, evaluation)}${answersTable(terminal, answer)}${drawn}${svg === undefined ? '' : `\n\nCharts written to ${svg}`}`,
        )
      },
    },
    watchRelease,
    ...releaseVerbs(),
  ],
}

async function drawTo(file: string, svg: string): Promise<void> {
  await writeFile(file, svg).catch((error: Error) => {
    throw usageError(`${file} is not writable: ${error.message}`)
  })
}

/** The API's limit. */
const maxShown = 1_000
/** The minimum number of verdicts to read for the charts. */
const minCharted = 100

/** Reads the offline evaluation on which the release is based. */
async function evaluationOf(client: Client, version: string): Promise<EvaluationAnswer> {
  const { evaluation_id: id } = await client.get<{ evaluation_id: string }>(path`/v1/versions/${version}`)
  return client.get<EvaluationAnswer>(path`/v1/evaluations/${id}`)
}

interface ReleaseDetail extends ReleaseAnswer, AnswerEvidence, Pick<ChartedRelease, 'state' | 'decisions'> {
  commands: CommandAnswer[]
  /** Commands queued while Temporal was unreachable and not delivered yet. */
  recorded?: RecordedAnswer[]
  /** What was judged and on what the weights were refitted. */
  refit?: string
  /** What the last load test of its version has found. */
  load_test?: string
  /** Present if there are earlier commands. */
  next_cursor?: string
}

/** Returns the table of the gate's metrics with their intervals, and the id of the evaluation; empty without metrics. */
export function gateTable(
  terminal: Terminal,
  { id, verdict, baseline_version: against, report }: EvaluationAnswer,
): string {
  const { metrics = [], tests = [] } = report
  if (metrics.length === 0 && tests.length === 0) return ''
  const { paint } = terminal
  const figure = (value: number | null) => (value === null ? null : metricText(value))
  const interval =
    report.policy === undefined ? 'interval' : `${levelPercent(report.policy.confidence)} % interval`
  const columns: Columns<(typeof metrics)[number]> = {
    metric: 'metric',
    champion: (each) => figure(each.champion),
    challenger: (each) =>
      each.beside === undefined
        ? figure(each.challenger)
        : challengerText(each, (value) => figure(value) ?? '–'),
    baseline: (each) => figure(each.baseline),
    gain: ({ delta }) => (delta === null ? null : gainText(delta)),
    [interval]: ({ low, high }) => (low === null ? null : `${gainText(low)} to ${gainText(high)}`),
    ...(metrics.some(({ floor = null }) => floor !== null)
      ? {
          floor: ({ floor = null, floorMet }: (typeof metrics)[number]) =>
            floor === null ? null : `${floor} ${floorMet ? 'met' : paint('red', 'missed')}`,
        }
      : {}),
    verdict: (each) => each.error ?? metricVerdictText(each, report.policy),
  }
  const table = tableBy(terminal, metrics, columns, {
    keeps: ['verdict', 'gain', 'challenger'],
    droppable: ['baseline', interval, 'champion'],
  })
  const title = `Offline gates: ${gateVerdictText(verdict, { isFirst: against === undefined })} (against ${against ?? 'floors'}, ${id})`
  const basis = report.warnings?.find(({ code }) => code === 'unseen_rows' || code === 'same_recipe')
  const compared = basis === undefined ? '' : `${capitalized(basis.message)}\n`
  const concerns = concernsOf(report).map((each) => `\n${paint('yellow', '!')} ${each}`)
  const parts = gateParts(report).map((each) => `\n${each}`)
  return `\n\n${terminal.paint('bold', title)}\n${compared}${table}${parts.join('')}${concerns.join('')}${otherwiseTable(terminal, report.answers)}${besideParentTable(terminal, report.compression)}${testTable(terminal, tests)}`
}

/** Returns the table of the test rows that would be answered otherwise, and which version was right there; empty without any. */
function otherwiseTable(terminal: Terminal, answers: JudgedParts['answers']): string {
  const rows = answers === undefined ? [] : answeredOtherwise(answers)
  if (rows.length === 0) return ''
  const table = tableBy(
    terminal,
    rows.slice(0, 10),
    {
      'champion → challenger': ({ from, to }) => `${from} → ${to}`,
      rows: 'rows',
      share: ({ share }) => percentText(share),
      'champion right': 'championRight',
      'challenger right': 'candidateRight',
    },
    { keeps: ['champion → challenger', 'challenger right', 'champion right'] },
  )
  return `\n\n${terminal.paint('bold', 'Test rows answered otherwise')}\n${table}`
}

/** Returns the table of a compressed version beside its parent, and whether it answers like it; empty for another version. */
function besideParentTable(terminal: Terminal, compression: JudgedParts['compression']): string {
  if (compression === undefined) return ''
  const cell = (at: number) => (row: string[]) => row[at]
  const table = tableBy(
    terminal,
    beside(compression),
    { measured: cell(0), parent: cell(1), challenger: cell(2), 'times better': cell(3) },
    { keeps: ['times better'] },
  )
  const title = terminal.paint('bold', capitalized(compressionText(compression)))
  return `\n\n${title}\n${table}\n${fidelityLine(compression)}`
}

/** Returns the table of the model file's behaviour tests; empty without any. */
function testTable(terminal: Terminal, tests: readonly BehaviourRow[]): string {
  if (tests.length === 0) return ''
  const worded = (result: BehaviourResult | undefined): string | null =>
    result === undefined ? null : result.verdict.replace('_', ' ')
  const table = tableBy(
    terminal,
    tests,
    {
      test: 'name',
      challenger: ({ challenger }, { paint }) =>
        challenger.verdict === 'pass' ? 'pass' : paint('red', worded(challenger) ?? ''),
      champion: ({ champion }) => worded(champion),
      finding: ({ challenger }) => challenger.message,
    },
    { keeps: ['challenger', 'finding'] },
  )
  return `\n\n${terminal.paint('bold', 'Behaviour tests')}\n${table}`
}

function detailOf(
  terminal: Terminal,
  release: ReleaseDetail,
  most: { decisions: number; commands: number },
): string {
  const { paint } = terminal
  const answers = answersText(release)
  const facts = factsTable(terminal, [
    ['version', release.version],
    ['replaces', release.baseline_version],
    ['refit', release.refit],
    ['cost', release.state.cost && costText(release.state.cost)],
    ['load test', release.load_test],
    ['strategy', release.strategy],
    ['stage', releaseStage(release)],
    ['serves now', servesText(release)],
    ['outcome', releaseOutcome(release, terminal)],
    ['why', orDash(release.withdrawn_reason ?? release.reason ?? release.why)],
    ...(answers === undefined ? [] : ([['answer with', answers]] as const)),
    ['requested by', release.requested_by],
    ['started', release.started_at],
    ['ended', release.ended_at],
    ['artifact', digestPrefix(release.artifact_digest)],
    ['evaluation', digestPrefix(release.evaluation_digest)],
    ['policy', digestPrefix(release.policy_digest)],
  ])
  const table = <Row>(rows: readonly Row[], keeps: ColumnOrder['keeps'], columns: Columns<Row>): string =>
    rows.length === 0 ? '' : `\n\n${tableBy(terminal, rows, columns, { keeps })}`
  const shown = most.commands === 0 ? [] : release.commands.slice(-most.commands)
  const hidden = release.next_cursor !== undefined || shown.length < release.commands.length
  const earlier = hidden && shown.length > 0 ? `\n${paint('dim', 'Earlier commands: --commands <n>')}` : ''
  const commands = table(shown, ['result', 'command'], {
    at: 'at',
    actor: 'actor',
    command: 'command',
    result: (each) => (each.accepted ? paint('green', 'accepted') : paint('yellow', 'rejected')),
    message: 'message',
  })
  const recorded = table(release.recorded ?? [], ['state', 'queued command'], {
    at: 'recorded_at',
    actor: 'actor',
    'queued command': 'command',
    state: (each) => paint('yellow', each.state),
    id: 'id',
  })
  const verdicts = table(release.decisions.slice(0, most.decisions), ['verdict', 'stage', 'reason'], {
    at: 'at',
    stage: (each) => stageName(release.state, each.stage, each.stage_index),
    verdict: (each) => coloured(terminal, each.kind),
    reason: (each) => each.reasons.map(({ message }) => message).join('; '),
  })
  return `${paint('bold', release.id)}\n${facts}${commands}${earlier}${recorded}${verdicts}`
}

// Words how the candidate's answers and effects compare with the champion's.

/** Returns tables that compare the candidate's predictions with the champion's, worst slices first; empty before the first prediction. */
export function answersTable(
  terminal: Terminal,
  { disagreement, answers, business, external, served }: AnswerEvidence,
): string {
  const parts: string[] = []
  if (served !== undefined) parts.push(`\n\n${terminal.paint('bold', 'Served as judged')}\n${served}`)
  if (disagreement !== undefined) {
    const { all, slices, max, changes } = disagreement
    const title = `Disagreement in the shadow (limit ${percentText(max)})`
    const table = tableBy(
      terminal,
      [all, ...slices],
      {
        slice: 'name',
        users: 'pairs',
        differs: ({ mean }) => (mean === null ? null : percentText(mean)),
        interval: ({ low, high, pairs }) => (pairs === 0 ? null : `${percentOf(low)} to ${percentOf(high)}`),
        limit: ({ above, pairs }, { paint }) =>
          above ? paint('yellow', 'above') : pairs === 0 ? 'no users' : 'not exceeded',
      },
      { keeps: ['limit', 'differs'] },
    )
    const changed = changes.slice(0, 5).map(({ from, to, count }) => `${from} → ${to}: ${count}`)
    parts.push(`\n\n${terminal.paint('bold', title)}\n${table}\n${changed.join('\n')}`.trimEnd())
  }
  if (answers !== undefined) {
    const { names, canary, control, perKey = 1 } = answers
    const of = (counts: readonly number[], i: number) =>
      percentText(ratioOf(counts[i] ?? 0, sumOf(counts) / perKey))
    const table = tableBy(
      terminal,
      names.map((name, i) => ({ name, i })),
      {
        answer: 'name',
        candidate: ({ i }) => of(canary, i),
        champion: ({ i }) => of(control, i),
      },
      { keeps: ['candidate'] },
    )
    parts.push(`\n\n${terminal.paint('bold', 'Share of each answer')}\n${table}`)
  }
  if (business !== undefined && business.length > 0) {
    const table = tableBy(
      terminal,
      business,
      {
        metric: 'name',
        candidate: ({ means }) => fourDigits(means?.canary ?? null, '–'),
        champion: ({ means }) => fourDigits(means?.control ?? null, '–'),
        gain: ({ gain }) => (gain === null ? '–' : percentText(gain)),
        users: ({ users }) => users.canary + users.control,
        loss: lossCell,
      },
      { keeps: ['loss', 'gain'] },
    )
    parts.push(`\n\n${terminal.paint('bold', 'What users did after their first request')}\n${table}`)
  }
  if (external !== undefined && external.length > 0) {
    const table = tableBy(
      terminal,
      external,
      {
        metric: 'name',
        source: 'source',
        candidate: ({ means }) => fourDigits(means?.canary ?? null, '–'),
        against: ({ means, limit }) => fourDigits(limit ?? means?.control ?? null, '–'),
        windows: 'windows',
        loss: lossCell,
        'source says': ({ problem }) => problem ?? '–',
      },
      { keeps: ['loss', 'candidate', 'against'] },
    )
    parts.push(`\n\n${terminal.paint('bold', 'What other systems measured')}\n${table}`)
  }
  return parts.join('')
}

const lossCell = (
  { worseLogE, threshold }: { worseLogE: number; threshold: number },
  { paint }: Terminal,
): string => (worseLogE >= threshold ? paint('yellow', 'proven') : 'not proven')

// Words what the gate has judged besides its metrics: fairness, the worst slice and the calibration, with their figures.

/** One line for each attribute and part; empty where the gate has judged none. */
export function gateParts({
  slices = [],
  fairness = [],
  calibration,
  policy,
}: Partial<JudgedParts>): string[] {
  const figure = (value: number | null | undefined) => fourDigits(value ?? null, '–')
  const lines = fairness.map(fairnessLine)
  const metric = policy?.slices.metric
  const [worst] = worstSlicesFirst(slices, metric)
  if (worst !== undefined && metric !== undefined)
    lines.push(
      `worst slice of ${slices.length}: ${worst.name}: ${worst.verdict}; ${metric} ${figure(worst.challenger)}, champion ${figure(worst.champion)}, ${counted(worst.rows, 'row')}${worst.provable == null ? '' : `, smallest provable loss ${figure(worst.provable)}`}`,
    )
  if (calibration)
    lines.push(
      `calibration: ${calibration.verdict}; expected error ${figure(calibration.challenger.ece)}, champion ${figure(calibration.champion?.ece)}`,
    )
  return lines
}
