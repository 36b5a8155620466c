/** Renders the cells of a model's row on the overview. */
import { countText, percentOf } from '../../../charts/figures.ts'
import { sparkline } from '../../../charts/sparkline.ts'
import type { OverviewRow, RecentTraffic } from '../../../../store/dashboard/overview.ts'
import type { PageElement } from '../../page.ts'
import { Badge, Since } from '../../components/elements.tsx'
import { FirstVersion, ModelLink } from '../../components/links.tsx'
import { qualityInterval } from '../../components/quality-interval.ts'
import { metricName, numberText } from '../../../../domain/figures.ts'
import { levelText, levelTones, qualityTones } from '../../labels.ts'
import { StageBadge, type StageNow } from '../../stage-badge.tsx'

/** The number of 30 s intervals in the traffic of the last 10 minutes. */
export const trafficParts = 20
export const trafficPartMs = 30_000

export const ModelCell = ({ model, about, serve }: OverviewRow): PageElement => (
  <>
    <ModelLink model={model} about={about} />
    {serve !== 'normal' && [' ', <Badge tone="bad">pinned to {serve}</Badge>]}
  </>
)

/** Shows which version is live, since when, and by whom or how. */
export const ChampionCell = ({
  row: { champion, model, isBrought, running },
  hasRelease,
  nowMs,
}: {
  row: OverviewRow
  /** Whether a release of the model is open. */
  hasRelease: boolean
  nowMs: number
}): PageElement => {
  if (champion === undefined)
    return (
      <span class="quiet">
        None yet
        {!hasRelease && ['. ', <FirstVersion model={model} isBrought={isBrought} running={running} />]}
      </span>
    )
  const short = shortVersion(model, champion.version)
  const { actor, cause } = champion
  return (
    <>
      {champion.releaseId === undefined ? (
        <strong title={champion.version}>{short}</strong>
      ) : (
        <a href={`/releases/${champion.releaseId}`} title={`Release of ${champion.version}`}>
          {short}
        </a>
      )}{' '}
      <span class="quiet">
        since <Since at={champion.since} nowMs={nowMs} />
      </span>
      {actor !== undefined && (
        <div class="quiet">
          {cause === 'rollback' ? 'after a rollback by' : 'by'} {actor}
        </div>
      )}
    </>
  )
}

export const shortVersion = (model: string, version: string): string =>
  version.startsWith(`${model}_`) ? version.slice(model.length + 1) : version

export const TrafficCell = ({ traffic }: { traffic: RecentTraffic | undefined }): PageElement => {
  if (traffic === undefined) return <span class="quiet">—</span>
  const total = traffic.requests.reduce((sum, count) => sum + count, 0)
  const rate = total / ((trafficParts * trafficPartMs) / 1_000)
  return (
    <>
      {total > 0 && (
        <span class="spark" aria-hidden="true">
          {sparkline(traffic.requests, { width: trafficParts })}
        </span>
      )}{' '}
      <span class="nowrap">{rate >= 10 ? countText(rate) : numberText(Number(rate.toPrecision(2)))}/s</span>
      {traffic.bad > 0 && [
        ' ',
        <Badge tone={traffic.bad / total > 0.01 ? 'bad' : 'warn'}>
          {countText(traffic.bad)} failed ({percentOf(traffic.bad / total)})
        </Badge>,
      ]}
    </>
  )
}

export const QualityCell = ({ champion, quality, evaluated, positives }: OverviewRow): PageElement => {
  if (quality !== undefined && quality.value !== null) {
    const interval = qualityInterval(quality, positives)
    return (
      <>
        <span>
          <span class="nowrap">
            {metricName(quality.metric)} {numberText(quality.value)}
          </span>
          {interval && [' ', <span class="quiet nowrap">({intervalText(interval)})</span>]}
        </span>{' '}
        <Badge tone={qualityTones[quality.level]}>{quality.level}</Badge>
      </>
    )
  }
  if (evaluated?.value === undefined)
    return <span class="quiet nowrap">{champion === undefined ? '—' : 'No data yet'}</span>
  const interval = qualityInterval({ ...evaluated, value: evaluated.value }, positives)
  return (
    <span>
      <span class="nowrap">
        {metricName(evaluated.metric)} {numberText(evaluated.value)}
      </span>{' '}
      <span class="quiet">
        offline{interval && [' ', <span class="nowrap">({intervalText(interval)})</span>]}
      </span>
    </span>
  )
}

const intervalText = ([low, high]: [number, number]): string => `95 % CI ${low.toFixed(3)}–${high.toFixed(3)}`

export const DriftCell = ({ drift }: OverviewRow): PageElement => {
  if (drift === undefined) return <span class="quiet nowrap">No data yet</span>
  const { level, worst } = drift
  return (
    <Badge tone={levelTones[level] ?? 'quiet'}>
      {levelText(level)}
      {(level === 'alarm' || level === 'warn') && worst !== undefined ? `: ${worst}` : ''}
    </Badge>
  )
}

export const ReleaseCell = ({ stage }: { stage: StageNow | undefined }): PageElement =>
  stage === undefined ? (
    <span class="quiet">—</span>
  ) : (
    <>
      <a href={`/releases/${stage.state.id}`}>{stage.state.version.replace(/^.*_v/, 'v')}</a>{' '}
      <StageBadge {...stage} />
      {stage.state.drill !== undefined && [' ', <Badge tone="quiet">drill</Badge>]}
    </>
  )
