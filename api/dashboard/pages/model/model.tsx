/** Shows one model: its champion now and at a point in time, its versions, live quality, calibration and drift. */
import { metricName, metricText } from '../../../../domain/figures.ts'
import type { Calibration } from '../../../../domain/metrics/calibration.ts'
import { z } from 'zod'
import { driftSvg } from '../../../../charts/drift.ts'
import { runCurvesSvg } from '../../../../charts/history/run-curves.ts'
import { reliabilitySvg } from '../../../../charts/reliability.ts'
import { qualitySvg } from '../../../../charts/quality.ts'
import { findChampion, listChampionHistory, type Champion } from '../../../../store/registry/champions.ts'
import { completeMonitorPolicy, type MonitorPolicy } from '../../../../domain/monitoring/policy.ts'
import type { Flag } from '../../../../domain/serving/kill-switch.ts'
import { findKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { findFirstChampion, findLiveAt } from '../../../../store/registry/champion-at.ts'
import { findLastDrift, listDriftWindows, type LastDrift } from '../../../../store/dashboard/drift-windows.ts'
import {
  findPositiveShare,
  listQualityWeeks,
  listQualityWindows,
} from '../../../../store/dashboard/quality-windows.ts'
import { listRunCurves, type RunCurve } from '../../../../store/dashboard/sweep-detail.ts'
import { listLatestOutcomes } from '../../../../store/monitoring/latest-outcomes.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { findRunningRetraining } from '../../../../store/training/retrainings.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { findVersions } from '../../../../store/registry/version-search.ts'
import { cursorText } from '../../../http/page-cursor.ts'
import { cursorOfKey, keyOfCursor } from '../../../http/version-cursor.ts'
import { requireModelAccess } from '../../../auth/authorization.ts'
import { searchedTime } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { drawChartSizes, ChartFigure, type ChartSizes } from '../../components/chart.tsx'
import { listHref, CursorPager } from '../../components/pager.tsx'
import { Badge, Facts, Since, type Fact } from '../../components/elements.tsx'
import { Term } from '../../glossary.tsx'
import { Crumbs, FirstVersion, modelHref, ReleaseLink } from '../../components/links.tsx'
import { calibrationOf, scoredOutcomes } from '../../components/calibration.ts'
import { qualityPoints, type DatedPoint } from '../../components/quality-points.ts'
import { VersionTable } from '../../components/version-table.tsx'
import { ChampionHistory, DriftSection, QualitySection } from './model-parts.tsx'
import { ThresholdSection } from './thresholds.tsx'
import { ModelActions } from './actions.tsx'
import { LiveAtForm } from './champion-at.tsx'
import { shortVersion } from '../overview/cells.tsx'

const versionsAPage = 20
const weeks = 26
const windows = 60
/** A calibration needs at least a few hundred outcomes. */
const maxOutcomes = 3_000
const maxRuns = 8

/** Returns when outcomes of the champion's first predictions are due, in ISO 8601; undefined from then on. */
export function outcomesDueAt(
  { since }: Pick<Champion, 'since'>,
  monitor: MonitorPolicy | undefined,
  nowMs: number,
): string | undefined {
  const dueMs = Date.parse(since) + completeMonitorPolicy(monitor).observedMs
  return dueMs > nowMs ? new Date(dueMs).toISOString() : undefined
}

/** Accepts a time also as the field shows it: `2026-03-01 12:00` or with seconds, in UTC. */
export const typedTime = z.preprocess(
  (typed) =>
    typeof typed === 'string'
      ? typed.trim().replace(/^(\S{10}) (\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)$/, '$1T$2Z')
      : typed,
  searchedTime,
)

export const modelPage = definePage({
  query: z.strictObject({ at: typedTime.optional(), cursor: cursorText.optional() }),
  async load({ store }, { actor, params, query: { at, cursor } }) {
    requireModelAccess(actor, params['name']!)
    const { name, definition } = await getModel(store, params['name']!)
    const [champion, flag, found, changes, byWeek, byWindow, lastDrift, driftWindows, live, runs] =
      await Promise.all([
        findChampion(store, name),
        findKillSwitch(store, name),
        findVersions(store, {
          model: name,
          order: 'version',
          limit: versionsAPage,
          after: cursor === undefined ? undefined : keyOfCursor(cursor, 'version'),
        }),
        listChampionHistory(store, name, 10),
        listQualityWeeks(store, { model: name, weeks }),
        listQualityWindows(store, { model: name, limit: windows }),
        findLastDrift(store, name),
        listDriftWindows(store, { model: name, limit: 40 }),
        at === undefined ? undefined : findLiveAt(store, { model: name, at }),
        // Skips the loss curves on the page of a point in time, which shows the champion of that time first.
        at === undefined ? listRunCurves(store, { model: name, limit: maxRuns }) : [],
      ])
    const [first, share, version, answered, running] = await Promise.all([
      at !== undefined && live === undefined ? findFirstChampion(store, name) : undefined,
      champion === undefined ? undefined : findPositiveShare(store, champion.version),
      champion === undefined ? undefined : getVersion(store, champion.version),
      champion === undefined
        ? []
        : listLatestOutcomes(store, { model: name, version: champion.version, limit: maxOutcomes }),
      found.versions.length === 0 ? findRunningRetraining(store, name) : undefined,
    ])
    // An installation younger than three weeks has too few weeks, so the page shows windows.
    const weekly = byWeek.length >= 3
    const measured = weekly ? byWeek : byWindow
    const points = qualityPoints(measured, share)
    const metric = measured.at(-1)?.report.metric ?? definition.evaluation?.policy?.primary ?? 'quality'
    const calibrated = calibrationOf(answered, version?.manifest.output)
    const output = version?.manifest.output
    const [qualityChart, driftChart, calibration, curves] = await Promise.all([
      drawQuality(name, metric, points),
      lastDrift && drawDrift(name, lastDrift),
      calibrated && drawCalibration(name, calibrated),
      runs.length === 0 ? undefined : drawRuns(name, runs, champion),
    ])
    return {
      name,
      definition,
      isBrought: definition.isBrought === true,
      running,
      hasReviews: output !== undefined && 'review' in output && output.review !== undefined,
      champion,
      flag,
      changes,
      driftWindows,
      calibration,
      thresholds:
        output?.kind === 'probability'
          ? { scored: scoredOutcomes(answered, output), threshold: output.threshold }
          : undefined,
      curves,
      lastLosses: lastLosses(runs, name),
      live,
      first,
      versions: found.versions,
      next: found.next && cursorOfKey(found.next, 'version'),
      quality: {
        points,
        metric,
        chart: qualityChart,
        weekly,
        known: answered.length,
        hasChampion: champion !== undefined,
        dueAt: champion && outcomesDueAt(champion, definition.monitor, Date.now()),
      },
      drift: lastDrift && driftChart && { ...lastDrift, chart: driftChart },
      nowMs: Date.now(),
    }
  },
  title: ({ name }) => name,
  view: (data, { actor, token, query: { at, cursor } }) => {
    const path = modelHref(data.name)
    return (
      <>
        <Crumbs to={[['/models', 'Models']]} />
        <h1>{data.name}</h1>
        {(data.definition.owner !== undefined || data.definition.release?.risk !== undefined) && (
          <p class="quiet">
            {data.definition.owner !== undefined && `Owner: ${data.definition.owner} `}
            {data.definition.release?.risk === 'high' && <Badge tone="warn">high risk</Badge>}
          </p>
        )}
        {data.definition.about !== undefined && <p class="lead">{data.definition.about}</p>}
        {token !== undefined && <ModelActions model={data.name} actor={actor} />}
        <div class="grid">
          <Now {...data} path={path} />
          {(at !== undefined || data.changes.length > 0) && (
            <LiveAtForm path={path} at={at} live={data.live} first={data.first} model={data.name} />
          )}
        </div>
        <section class="card">
          <h2>Versions</h2>
          {data.versions.length > 0 && (
            <p class="small">
              <a href={listHref('/versions', { model: data.name })}>Search versions of {data.name}</a>
            </p>
          )}
          <VersionTable
            versions={data.versions}
            primary={data.definition.evaluation?.policy?.primary}
            empty={
              <>
                No versions yet.{' '}
                <FirstVersion model={data.name} isBrought={data.isBrought} running={data.running} />
              </>
            }
          />
          <CursorPager
            first={cursor === undefined ? undefined : path}
            next={data.next === undefined ? undefined : listHref(path, { cursor: data.next })}
          />
        </section>
        <QualitySection {...data.quality} />
        {data.calibration !== undefined && (
          <section class="card">
            <h2>
              <Term word="Calibration" />
            </h2>
            <ChartFigure
              chart={data.calibration}
              note="Predicted vs observed on the latest outcomes. Dashed line = perfect calibration."
            />
          </section>
        )}
        {data.thresholds?.scored !== undefined && (
          <ThresholdSection scored={data.thresholds.scored} threshold={data.thresholds.threshold} />
        )}
        {data.curves !== undefined && (
          <section class="card">
            <h2>Training curves</h2>
            <ChartFigure
              chart={data.curves}
              note={`Loss by epoch of the last runs, the champion in colour. At the end, from the highest: ${data.lastLosses}.`}
            />
          </section>
        )}
        <DriftSection drift={data.drift} windows={data.driftWindows} path={path} />
        <ChampionHistory changes={data.changes} />
      </>
    )
  },
})

/** Lists the last loss of each run, in the order in which the lines end: `v1.2.0 0.4890, v1.1.0 0.4574`. */
const lastLosses = (runs: readonly RunCurve[], model: string): string =>
  runs
    .flatMap(({ version, startedAt, curve }) => {
      const loss = curve.at(-1)?.loss
      const name = version === undefined ? `run of ${startedAt.slice(0, 10)}` : shortVersion(model, version)
      return typeof loss === 'number' ? [{ name, loss }] : []
    })
    .toSorted((one, other) => other.loss - one.loss)
    .map(({ name, loss }) => `${name} ${metricText(loss)}`)
    .join(', ')

const drawDrift = (model: string, { report, policy: { warn, alarm } }: LastDrift): Promise<ChartSizes> =>
  drawChartSizes(
    { id: 'drift', title: `Drift of ${model} by feature` },
    { rows: report.features.map(({ name, psi, level }) => ({ name, psi, level })), warn, alarm },
    ({ rows, ...limits }, frame) => driftSvg(rows, { ...frame, ...limits }),
  )

const drawQuality = (model: string, metric: string, points: readonly DatedPoint[]): Promise<ChartSizes> =>
  drawChartSizes({ id: 'quality', title: `Live ${metricName(metric)} of ${model}` }, points, (data, frame) =>
    qualitySvg(data, { ...frame, metric }),
  )

const drawCalibration = (model: string, calibrated: Calibration): Promise<ChartSizes> =>
  drawChartSizes({ id: 'calibration', title: `Live calibration of ${model}` }, calibrated, reliabilitySvg)

/** The loss of each run, with that of the champion marked. */
const drawRuns = (
  model: string,
  runs: readonly RunCurve[],
  champion: Champion | undefined,
): Promise<ChartSizes> =>
  drawChartSizes(
    { id: 'runs', title: `Training loss of the last runs of ${model}` },
    runs.map(({ version, startedAt, curve }) => ({
      name: version ?? `run of ${startedAt.slice(0, 10)}`,
      points: curve,
      marked: version !== undefined && version === champion?.version,
    })),
    runCurvesSvg,
  )

interface LiveNow {
  name: string
  path: string
  champion?: Champion
  flag?: Flag
  nowMs: number
  /** Whether the model file sends predictions to review. */
  hasReviews: boolean
  isBrought: boolean
  /** The retraining that runs, for a model without versions. */
  running?: string | undefined
  versions: readonly unknown[]
}

const Now = ({
  name,
  champion,
  flag,
  nowMs,
  path,
  hasReviews,
  isBrought,
  running,
  versions,
}: LiveNow): PageElement => (
  <section class={`card ${champion === undefined ? '' : 'good'}`}>
    <h2>Live now</h2>
    {champion === undefined ? (
      <p>
        No live version.{' '}
        {versions.length === 0 ? (
          <FirstVersion model={name} isBrought={isBrought} running={running} />
        ) : (
          <a href={listHref('/releases', { model: name })}>View releases</a>
        )}
      </p>
    ) : (
      <Facts facts={liveFacts(champion, { path, nowMs, hasReviews })} />
    )}
    {flag !== undefined && flag.serve !== 'normal' && (
      <p class="notice bad">
        Pinned to {flag.serve} by {flag.actor}: {flag.reason}
      </p>
    )}
  </section>
)

function liveFacts(
  { version, since, releaseId }: Champion,
  { path, nowMs, hasReviews }: Pick<LiveNow, 'path' | 'nowMs' | 'hasReviews'>,
): (Fact | undefined)[] {
  const champion = (
    <a href={`${path}/versions/${encodeURIComponent(version)}`}>
      <strong>{version}</strong>
    </a>
  )
  return [
    ['Champion', champion],
    ['Live since', <Since at={since} nowMs={nowMs} />],
    releaseId === undefined ? undefined : ['Release', <ReleaseLink id={releaseId} />],
    ['Inputs', <a href={`${path}/features`}>Live vs training data</a>],
    hasReviews ? ['Reviews', <a href={`${path}/reviews`}>Answers for review</a>] : undefined,
  ]
}
