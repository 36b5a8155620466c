/** Shows what is live and since when, what needs attention, what is at risk, and what changed in the last day. */
import { readStages, StageBadge, type StageNow } from '../../stage-badge.tsx'
import { listOpenAlerts } from '../../../../store/dashboard/lists.ts'
import {
  listOverviewRows,
  readFleet,
  readTraffic,
  type OverviewRow,
  type RecentTraffic,
} from '../../../../store/dashboard/overview.ts'
import {
  listModelHistory,
  listRecentChanges,
  type RecentChange,
} from '../../../../store/dashboard/model-history.ts'
import { readLastMinute } from '../../../../store/registry/champion-watch.ts'
import { listReleases, type Release } from '../../../../store/release/releases.ts'
import { listQueued, type QueuedRelease } from '../../../../store/release/release-queue.ts'
import { definePage, type PageElement } from '../../page.ts'
import {
  ChampionCell,
  DriftCell,
  ModelCell,
  QualityCell,
  ReleaseCell,
  trafficParts,
  trafficPartMs,
  TrafficCell,
  shortVersion,
} from './cells.tsx'
import { Live, DataTable, Time, Age, Badge, durationText, type Tone } from '../../components/elements.tsx'
import { truncated } from '../../../charts/figures.ts'
import { whyWaiting } from '../../../../domain/release/explain.ts'
import type { Alert } from '../../../../store/monitoring/alerts.ts'
import { ReleaseLink, modelHref, retrainingHref } from '../../components/links.tsx'
import { releaseOf, SeverityBadge } from '../operations/alert-card.tsx'
import {
  needsCommand,
  readable,
  severityTones,
  sentenceCase,
  plain,
  retrainingWords,
  shortReason,
} from '../../labels.ts'
import { modelLanesSvg, type LaneData } from '../../../charts/history/model-lanes.ts'
import { ChartFigure, drawChartSizes, type ChartSizes } from '../../components/chart.tsx'
import { counted, percentText } from '../../../../domain/figures.ts'
import { isMinuteFailing, minuteText, type LastMinute } from '../../../../domain/monitoring/champion-watch.ts'
import { sumOf } from '@tenure/sequential'

const maxModels = 500
const dayMs = 86_400_000
/** The limit per model and kind: an hourly window for a week. */
const maxSpans = 170

export const overviewPage = definePage({
  async load({ store }) {
    const [rows, traffic, open, waiting, alerts, fleet, changes] = await Promise.all([
      listOverviewRows(store, { limit: maxModels }),
      readTraffic(store, { parts: trafficParts, partMs: trafficPartMs }),
      listReleases(store, { open: true, limit: maxModels }),
      listQueued(store, { open: true, limit: 100 }),
      listOpenAlerts(store, { limit: maxModels }),
      readFleet(store),
      listRecentChanges(store, {
        fromAt: new Date(Date.now() - dayMs).toISOString(),
        limit: maxChanges + 1,
      }),
    ])
    const releaseOf = new Map(open.map((release) => [release.state.model, release]))
    const [minutes, stages] = await Promise.all([
      readLastMinute(
        store,
        rows.map(({ model }) => model),
      ),
      readStages(
        store,
        open.map(({ state }) => state),
      ),
    ])
    const models = rows.map((row) => ({
      row,
      traffic: traffic.get(row.model),
      minute: minutes.get(row.model),
      release: releaseOf.get(row.model),
      alerts: alerts.filter(({ model }) => model === row.model).length,
    }))
    const fromMs = Math.floor((fleet.nowMs - lanesSpanMs) / 60_000) * 60_000
    const shown = laneModels(models)
    const spans = await listModelHistory(store, {
      models: shown,
      fromAt: new Date(fromMs).toISOString(),
      limit: maxSpans,
    })
    const lanes = await drawModelLanes({ spans, fromMs, nowMs: fleet.nowMs })
    return {
      models,
      open,
      stages,
      waiting,
      alerts,
      changes,
      lanes,
      hiddenLanes: models.length - shown.length,
      ...fleet,
    }
  },
  title: () => 'Tenure',
  view: (data, { target }) => (
    <>
      <h1>Overview</h1>
      <Live id="overview" target={target}>
        <OverviewSummary {...data} />
        <NeedsAttention {...data} />
        <section class="card" id="models">
          <DataTable
            caption="Models"
            rows={data.models}
            empty={
              <>
                No models yet. Add a file to <code>models/</code>, run <code>tenure models sync</code>, and
                train it with <code>tenure retrain &lt;model&gt;</code>.
              </>
            }
            columns={[
              { head: 'Model', names: true, cell: ({ row }) => <ModelCell {...row} /> },
              {
                head: 'Live',
                cell: ({ row, release }) => (
                  <ChampionCell row={row} hasRelease={release !== undefined} nowMs={data.nowMs} />
                ),
              },
              { head: 'Traffic (10 min)', cell: ({ traffic }) => <TrafficCell traffic={traffic} /> },
              { head: 'Quality', cell: ({ row }) => <QualityCell {...row} /> },
              { head: 'Drift', cell: ({ row }) => <DriftCell {...row} /> },
              {
                head: 'Release',
                cell: ({ release }) => <ReleaseCell stage={release && data.stages.get(release.state.id)} />,
              },
              {
                head: 'Alerts',
                numeric: true,
                cell: ({ alerts, row }) =>
                  alerts === 0 ? (
                    '0'
                  ) : (
                    <a href={`/alerts?model=${encodeURIComponent(row.model)}`}>{alerts}</a>
                  ),
              },
            ]}
          />
          <p class="quiet small">
            {data.replicas} {data.replicas === 1 ? 'replica' : 'replicas'} healthy · updated{' '}
            <Time at={new Date(data.nowMs).toISOString()} shows="clock" />
          </p>
        </section>
        <div class="beside lists">
          <OpenAlerts {...data} />
          <RecentChanges {...data} />
        </div>
        <ModelLanes chart={data.lanes} hidden={data.hiddenLanes} />
      </Live>
    </>
  ),
})

// Lists what needs attention on the overview: releases that need an approval or a decision, and open alerts.

const maxAlerts = 20
/** In characters: about six lines of the narrow column. */
const maxMessage = 140

/** Lists releases that need an approval or a decision, and queued releases. */
const NeedsAttention = ({
  stages,
  waiting,
}: {
  stages: ReadonlyMap<string, StageNow>
  waiting: QueuedRelease[]
}): PageElement => {
  const asking = [...stages.values()].filter(({ state }) => needsCommand(state))
  if (asking.length + waiting.length === 0) return <></>
  return (
    <section class="card warn" id="attention">
      <h2>Needs your attention ({asking.length + waiting.length})</h2>
      <ul class="plain-list">
        {asking.map((stage) => (
          <li>
            <a href={`/releases/${stage.state.id}`}>{stage.state.version}</a> <StageBadge {...stage} />{' '}
            {readable(whyWaiting(stage.state))}
          </li>
        ))}
        {waiting.map((each) => (
          <li>
            {each.version} <Badge tone="quiet">queued</Badge> Starts after the current release of {each.model}
            ; requested by {each.requestedBy}.
          </li>
        ))}
      </ul>
    </section>
  )
}

const severities = Object.keys(severityTones)

/** Lists open alerts, the most severe first, then the newest. */
const OpenAlerts = ({ alerts, nowMs }: { alerts: Alert[]; nowMs: number }): PageElement => (
  <section class="card" id="alerts">
    <DataTable
      caption="Open alerts"
      rows={alerts
        .toSorted((one, other) => severities.indexOf(one.severity) - severities.indexOf(other.severity))
        .slice(0, maxAlerts)}
      empty={
        <>
          No open alerts. Rehearse one: <code>tenure drills run &lt;model&gt; --kind nan</code>
        </>
      }
      columns={[
        { head: 'Open for', cell: ({ raisedAt }) => <Age at={raisedAt} nowMs={nowMs} /> },
        { head: 'Severity', cell: ({ severity }) => <SeverityBadge severity={severity} /> },
        { head: 'Model', cell: ({ model }) => <span class="wrap">{model ?? '—'}</span> },
        {
          head: 'Alert',
          cell: (alert) => (
            <span class="wrap">
              {truncated(alert.message, maxMessage)}
              {alert.message.length > maxMessage && [' ', <a href="/alerts">Whole message</a>]}
              {releaseOf(alert) !== undefined && [' ', <ReleaseLink id={releaseOf(alert)} />]}
            </span>
          ),
        },
        {
          head: 'Assignee',
          cell: ({ acknowledgedBy }) => acknowledgedBy ?? <span class="quiet">Unassigned</span>,
        },
      ]}
    />
    {alerts.length > maxAlerts && (
      <p>
        <a href="/alerts">All alerts</a>
      </p>
    )}
  </section>
)

// Shows releases, drift, quality and incidents of models on one axis of time.

const lanesSpanMs = 7 * 86_400_000
const maxLaneModels = 6
/** The time axis advances in these steps, so that a live page does not redraw the chart at each reload. */
const stepMs = 300_000
const leastSpanMs = 2 * stepMs

interface ModelLine {
  row: OverviewRow
  release?: Release | undefined
  alerts: number
}

/** Returns the models, those with an open release, an alert or drift first. */
const laneModels = (models: readonly ModelLine[]): string[] =>
  models
    .map(({ row, release, alerts }) => {
      const drifts = row.drift?.level === 'warn' || row.drift?.level === 'alarm'
      return { model: row.model, weight: Number(release !== undefined) + Number(alerts > 0) + Number(drifts) }
    })
    .toSorted((one, other) => other.weight - one.weight)
    .slice(0, maxLaneModels)
    .map(({ model }) => model)

export const drawModelLanes = ({ spans, fromMs, nowMs }: LaneData): Promise<ChartSizes> => {
  const endMs = Math.ceil(nowMs / stepMs) * stepMs
  // In a young installation, the axis starts at its first event. A window of drift or quality begins before the data in it.
  const first = Math.min(
    ...spans.map(({ kind, fromMs: beganMs, toMs }) =>
      kind === 'drift' || kind === 'quality' ? (toMs ?? nowMs) : beganMs,
    ),
  )
  const begun = spans.map((span) => ({ ...span, fromMs: Math.max(span.fromMs, first) }))
  const startMs = Math.max(fromMs, Math.min(endMs - leastSpanMs, first))
  const axisMs = Math.floor(startMs / stepMs) * stepMs
  // What lasts ends now, in steps of less than a hundredth of the axis.
  const openMs = Math.min(stepMs, (endMs - axisMs) / 120)
  const lastMs = Math.floor(nowMs / openMs) * openMs
  return drawChartSizes(
    { id: 'lanes', title: 'Releases, drift, quality and incidents of the last 7 days', wide: 1_240 },
    { spans: begun, fromMs: axisMs, nowMs: lastMs, endMs },
    modelLanesSvg,
  )
}

const ModelLanes = ({ chart, hidden }: { chart: ChartSizes; hidden: number }): PageElement => (
  <section class="card" id="time-line">
    <h2>Timeline</h2>
    <ChartFigure
      chart={chart}
      note={`The last 7 days, or since the first event. Full bars are problems: rolled back, drift, quality lost, alert. Thin bars are fine.${hidden > 0 ? ` ${hidden} more models have a timeline on their own page.` : ''}`}
    />
  </section>
)

// Answers four questions in one line each: what is live, what needs attention, what is at risk, what changed.

interface Seen {
  models: readonly {
    row: OverviewRow
    traffic?: RecentTraffic | undefined
    minute?: LastMinute | undefined
  }[]
  open: readonly Release[]
  waiting: readonly QueuedRelease[]
  alerts: readonly Alert[]
  changes: readonly RecentChange[]
  nowMs: number
}

/** A model whose share of failed requests is higher is at risk. */
const maxFailedShare = 0.01

interface Risk {
  text: string
  tone: Tone
  /** How many findings it stands for. Default: 1. */
  count?: number
}

/** Returns the reasons why models are at risk, the worst first. */
export function risksOf({ models, alerts }: Pick<Seen, 'models' | 'alerts'>): Risk[] {
  const risks: Risk[] = []
  for (const { row, traffic, minute } of models) {
    const add = (tone: Tone, what: string) => risks.push({ tone, text: `${row.model}: ${what}` })
    if (row.serve !== 'normal') add('bad', `pinned to ${row.serve}`)
    if (row.quality?.level === 'lost') add('bad', 'quality lost')
    const total = sumOf(traffic?.requests ?? [])
    if (minute !== undefined && isMinuteFailing(minute, maxFailedShare)) add('bad', minuteText(minute))
    else if (traffic !== undefined && total > 0 && traffic.bad / total > maxFailedShare)
      add('warn', `${percentText(traffic.bad / total)} of the recent requests failed, not in the last minute`)
    if (row.drift?.level === 'alarm') add('bad', 'drift alarm')
    if (row.drift?.level === 'warn') add('warn', 'drift warning')
  }
  const critical = alerts.filter(({ severity }) => severity === 'critical').length
  if (critical > 0)
    risks.unshift({
      count: critical,
      tone: 'bad',
      text: `${critical} critical ${critical === 1 ? 'alert' : 'alerts'}`,
    })
  return risks.toSorted((one, other) => Number(other.tone === 'bad') - Number(one.tone === 'bad'))
}

/** Returns the first text and the number of further ones. */
const firstOf = (texts: readonly string[], none: string): string => {
  const [first, ...rest] = texts
  return first === undefined ? none : rest.length === 0 ? first : `${first} and ${rest.length} more`
}

/** What is known to be within limits; names what was not measured. */
export function calmText(models: Seen['models']): string {
  const champions = models.filter(({ row }) => row.champion !== undefined)
  if (champions.length === 0) return 'No version serves yet'
  const isAsked = champions.some(({ minute }) => minute !== undefined && minute.requests > 0)
  const errors = isAsked ? 'No errors above the limits in the last minute' : 'No requests in the last minute'
  const unmeasured = [
    ...(champions.some(({ row }) => row.drift === undefined) ? ['drift'] : []),
    ...(champions.some(({ row }) => row.quality === undefined) ? ['quality'] : []),
  ]
  if (unmeasured.length === 0) return `${errors}; drift and quality within limits`
  const share = champions.length === 1 ? '' : ' for every model'
  return `${errors}; ${unmeasured.join(' and ')} not measured yet${share}`
}

export const OverviewSummary = (seen: Seen): PageElement => {
  const { models, open, waiting, changes, nowMs } = seen
  const live = models.flatMap(({ row }) =>
    row.champion === undefined ? [] : [{ ...row.champion, model: row.model }],
  )
  const newest = live.toSorted((one, other) => other.since.localeCompare(one.since))[0]
  const asking = open.filter(({ state }) => needsCommand(state))
  const risks = risksOf(seen)
  // The list of decisions is absent while it is empty.
  const [only] = asking.length === 1 ? asking : []
  const decisions = asking.length + waiting.length === 0 ? '/releases' : '#attention'
  return (
    <nav class="summary" aria-label="Summary">
      <Answer href="#models" name="Live" tone={live.length < models.length ? 'warn' : 'good'}>
        <strong>
          {live.length} of {models.length} {models.length === 1 ? 'model' : 'models'}
        </strong>
        <span class="quiet small">
          {newest === undefined
            ? 'No version released yet'
            : `Changed last: ${newest.version}, ${durationText(nowMs - Date.parse(newest.since))} ago`}
        </span>
      </Answer>
      <Answer
        href={only === undefined ? decisions : `/releases/${only.state.id}`}
        name="Needs a decision"
        tone={asking.length > 0 ? 'warn' : 'good'}
      >
        <strong>{asking.length === 0 ? 'Nothing' : counted(asking.length, 'release')}</strong>
        <span class="quiet small">
          {firstOf(
            [
              ...asking.map(
                ({ state }) =>
                  `${state.version}: ${state.paused ? 'paused' : state.stage.replaceAll('_', ' ')}`,
              ),
              ...waiting.map(({ version }) => `${version}: queued`),
            ],
            'No approval or decision open',
          )}
        </span>
      </Answer>
      <Answer href="#alerts" name="At risk" tone={risks[0]?.tone ?? 'good'}>
        <strong>
          {risks.length === 0 ? 'Nothing' : counted(sumOf(risks.map(({ count = 1 }) => count)), 'finding')}
        </strong>
        <span class="quiet small">
          {firstOf(
            risks.map(({ text }) => text),
            calmText(models),
          )}
        </span>
      </Answer>
      <Answer href="#changes" name="Changed in 24 h" tone="quiet">
        <strong>
          {changes.length === 0
            ? 'Nothing'
            : `${sentenceCase(changeCount(changes))} ${changes.length === 1 ? 'change' : 'changes'}`}
        </strong>
        <span class="quiet small">{firstOf(changes.map(changeText), 'Same versions as yesterday')}</span>
      </Answer>
    </nav>
  )
}

const Answer = ({
  href,
  name,
  tone,
  children,
}: {
  href: string
  name: string
  tone: Tone
  children?: unknown
}): PageElement => (
  <a href={href} class={tone}>
    <span class="quiet small">{name}</span>
    {children as PageElement}
  </a>
)

// Lists what changed in the last day: champions, releases that ended without a promotion, retrainings and kill switches.

/** Beyond this number, changes are not counted. */
const maxChanges = 100
const shownChanges = 12

/** The number of changes: `12`, or `more than 100`. */
export const changeCount = (changes: readonly RecentChange[]): string =>
  changes.length > maxChanges ? `more than ${maxChanges}` : String(changes.length)

/** Describes a change: `flight-delay v1.2.0 → v1.1.0 (rollback)`. */
function changeText({ kind, what, model, version, previousVersion }: RecentChange): string {
  const short = version === undefined ? '' : ` ${shortVersion(model, version)}`
  if (kind === 'pin') return what === 'normal' ? `${model} unpinned` : `${model} pinned to ${what}`
  if (kind === 'retraining') return `${model} retraining: ${retrainingWords(what)}`
  if (kind === 'release') return `${model}${short}: ${plain(what)}`
  const from = previousVersion === undefined ? '' : ` ${shortVersion(model, previousVersion)} →`
  return `${model}${from}${short} (${what === 'rollback' ? 'rolled back' : 'promoted'})`
}

const hrefOf = ({ kind, model, releaseId, retrainingId }: RecentChange): string => {
  if (releaseId !== undefined) return `/releases/${releaseId}`
  return kind === 'retraining' ? retrainingHref(retrainingId!) : modelHref(model)
}

/** The user and the reason; the reason alone where it names the user as an approver. */
function partsOf({ kind, actor, reason }: RecentChange): string[] {
  const why = reason === undefined ? [] : [shortReason(reason).slice(0, 160)]
  const approvers = /^approved by (.+)$/.exec(why[0] ?? '')?.[1]?.split(' and ') ?? []
  return actor === undefined || approvers.includes(actor)
    ? why
    : [kind === 'retraining' ? `requested by ${actor}` : actor, ...why]
}

export const RecentChanges = ({
  changes,
  nowMs,
}: {
  changes: readonly RecentChange[]
  nowMs: number
}): PageElement => (
  <section class="card" id="changes">
    <h2>Changed in the last 24 h</h2>
    {changes.length === 0 ? (
      <p class="empty">
        No changes. Train a challenger: <code>tenure retrain &lt;model&gt;</code>
      </p>
    ) : (
      <ul class="plain-list changes">
        {changes.slice(0, shownChanges).map((change) => (
          <li>
            <span class="quiet small">
              <Age at={change.at} nowMs={nowMs} /> ago
            </span>{' '}
            <a href={hrefOf(change)}>{changeText(change)}</a>
            {partsOf(change).map((part) => (
              <span class="quiet small"> · {part}</span>
            ))}
          </li>
        ))}
      </ul>
    )}
    {changes.length > shownChanges && (
      <p class="quiet small">
        The newest {shownChanges} of {changeCount(changes)}. See <a href="/releases">releases</a>,{' '}
        <a href="/retrainings">retrainings</a> and the <a href="/audit">audit log</a>.
      </p>
    )}
  </section>
)
