/** Answers four questions in one line each: what is live, what needs attention, what is at risk, what changed. */
import type { RecentChange } from '../../../../store/dashboard/model-history.ts'
import type { OverviewRow, RecentTraffic } from '../../../../store/dashboard/overview.ts'
import type { Alert } from '../../../../store/monitoring/alerts.ts'
import type { QueuedRelease } from '../../../../store/release/release-queue.ts'
import type { Release } from '../../../../store/release/releases.ts'
import type { PageElement } from '../../page.ts'
import { needsCommand, sentenceCase } from '../../labels.ts'
import { durationText, type Tone } from '../../components/elements.tsx'
import { counted, percentText } from '../../../../domain/figures.ts'
import { isMinuteFailing, minuteText, type LastMinute } from '../../../../domain/sequential/champion-watch.ts'
import { sumOf } from '../../../../domain/statistics/distributions.ts'
import { changeCount, changeText } from './changes.tsx'

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
