/** Renders the line of a model on the overview. */
import type { OverviewRow } from '../../../../store/dashboard/overview.ts'
import {
  judgeMinute,
  requestsOf,
  spanText,
  versionText,
  type LastMinute,
} from '../../../../domain/monitoring/last-minute.ts'
import { metricName, numberText } from '../../../../domain/figures.ts'
import { percentOf } from '../../../charts/figures.ts'
import { sparkline } from '../../../charts/sparkline.ts'
import { Badge, durationText } from '../../components/elements.tsx'
import { modelHref, retrainingHref } from '../../components/links.tsx'
import type { PageElement } from '../../page.ts'
import { stageText, stageTone } from '../../labels.ts'
import type { StageNow } from '../../stage-badge.tsx'
import { stateOf, toneOf, type ConcernKind } from './concerns.ts'

/** The number of 30 s intervals in the traffic of the last 10 minutes. */
export const trafficParts = 20
export const trafficPartMs = 30_000

export interface ModelLine {
  row: OverviewRow
  worst?: ConcernKind | undefined
  traffic?: readonly number[] | undefined
  minute?: LastMinute | undefined
  /** The open release. */
  stage?: StageNow | undefined
  nowMs: number
}

export const rowId = (model: string): string => `m-${model}`

export const shortVersion = (model: string, version: string): string =>
  version.startsWith(`${model}_`) ? version.slice(model.length + 1) : version

export const ModelRow = (line: ModelLine): PageElement => {
  const { row, traffic, minute, nowMs } = line
  const { model, champion } = row
  return (
    <tr id={rowId(model)}>
      <td>
        <State {...line} />
      </td>
      <th scope="row">
        <a href={modelHref(model)}>{model}</a>
      </th>
      <td>
        <Version {...line} />
      </td>
      <td class="at">
        {champion && (
          <time datetime={champion.since} title={sinceTitle(champion)}>
            {coarseAge(nowMs - Date.parse(champion.since))}
          </time>
        )}
      </td>
      <td class="spark" aria-hidden="true">
        {traffic?.some((count) => count > 0) && sparkline([0, ...traffic], { width: trafficParts })}
      </td>
      <td class="number">
        <Failed minute={minute} />
      </td>
      <td class="quality">
        <Quality {...row} />
      </td>
      <td class="release">
        <Release {...line} />
      </td>
    </tr>
  )
}

/** The age in its largest unit, so that a line rarely changes and travels: `< 1 min`, `5 h`. */
export const coarseAge = (ms: number): string =>
  ms < 60_000 ? '< 1 min' : durationText(ms).split(' ').slice(0, 2).join(' ')

const sinceTitle = ({ since, actor }: NonNullable<OverviewRow['champion']>): string =>
  `since ${since}${actor === undefined ? '' : ` by ${actor}`}`

/** A dot whose form repeats its colour; its word is read aloud. */
const State = ({ row, worst, minute }: ModelLine): PageElement => {
  const [tone, mark, word] =
    worst === undefined
      ? row.champion === undefined
        ? ['quiet', '○', 'no version']
        : minute === undefined || requestsOf(minute) === 0
          ? ['quiet', '●', 'no requests']
          : ['good', '●', 'serves']
      : [toneOf(worst), toneOf(worst) === 'bad' ? '✕' : '▲', stateOf(worst)]
  return (
    <span class={`dot ${tone}`} title={word}>
      <span aria-hidden="true">{mark}</span>
      <span class="aloud">{word}</span>
    </span>
  )
}

const Version = ({ row: { champion, model, running } }: ModelLine): PageElement => {
  if (champion === undefined)
    return running === undefined ? (
      <span class="quiet">None</span>
    ) : (
      <a href={retrainingHref(running)}>in training</a>
    )
  const short = shortVersion(model, champion.version)
  return champion.releaseId === undefined ? (
    <>{short}</>
  ) : (
    <a href={`/releases/${champion.releaseId}`}>{short}</a>
  )
}

/** Of the champion, whose version the line shows; those of others are named on hover. */
const Failed = ({
  minute: { champion, others } = { others: [] },
}: Pick<ModelLine, 'minute'>): PageElement => {
  const named = others.map(versionText).join('; ')
  if (champion === undefined || champion.requests === 0)
    return (
      <span class="quiet" title={named === '' ? 'No requests in the last minute' : named}>
        —
      </span>
    )
  return (
    <span
      class={judgeMinute(champion) === 'failing' ? 'failed' : undefined}
      title={`${versionText(champion)} ${spanText(champion)}`}
    >
      {percentOf(champion.failed / champion.requests)}
    </span>
  )
}

const Quality = ({ champion, quality, evaluated }: OverviewRow): PageElement => {
  if (quality?.value != null)
    return (
      <>
        {metricName(quality.metric)} {numberText(quality.value)}
        {quality.level === 'lost' && [' ', <Badge tone="bad">lost</Badge>]}
      </>
    )
  return evaluated?.value === undefined ? (
    <span class="quiet">{champion === undefined ? '—' : 'No data yet'}</span>
  ) : (
    <>
      {metricName(evaluated.metric)} {numberText(evaluated.value)} <span class="quiet">offline</span>
    </>
  )
}

const Release = ({ row: { model, champion, queued, running }, stage }: ModelLine): PageElement => {
  if (stage !== undefined) {
    const { state, servedBp, warning } = stage
    return (
      <>
        <a href={`/releases/${state.id}`}>
          <span class="wide">{shortVersion(model, state.version)}</span>{' '}
          <span class={`badge ${warning === undefined ? stageTone(state) : 'quiet'}`} title={warning}>
            {stageText(state, servedBp)}
          </span>
        </a>{' '}
        {servedBp > 0 && <progress class="wide" max={10_000} value={servedBp} aria-hidden="true"></progress>}
        {state.drill !== undefined && [' ', <Badge tone="quiet">drill</Badge>]}
      </>
    )
  }
  if (queued !== undefined) return <span class="quiet">{shortVersion(model, queued)} queued</span>
  return champion !== undefined && running !== undefined ? (
    <a href={retrainingHref(running)}>in training</a>
  ) : (
    <></>
  )
}
