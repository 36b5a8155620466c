/** Shows one model: its champion now and at a point in time, its versions, live quality, calibration and drift. */
import { gateVerdictText } from '../../../../domain/evaluation/verdict-words.ts'
import { z } from 'zod'
import { knownZone, typedInstant } from '../../../../domain/zoned-time.ts'
import type { ModelDefinition } from '../../../../domain/model-definition.ts'
import { approversOf } from '../../../../domain/release/approval.ts'
import { refitText } from '../../../../domain/training/refit.ts'
import { metricName, metricText, numberText } from '../../../../domain/figures.ts'
import type { Calibration } from '@tenure/sequential'
import { driftSvg } from '../../../charts/drift.ts'
import { runCurvesSvg } from '../../../charts/history/run-curves.ts'
import { reliabilitySvg } from '../../../charts/reliability.ts'
import { qualitySvg, type QualityMark, type QualityPoint } from '../../../charts/quality.ts'
import {
  type Champion,
  findFirstChampion,
  findLiveAt,
  type LiveAt,
} from '../../../../store/registry/champions.ts'
import { completeMonitorPolicy, type MonitorPolicy } from '../../../../domain/monitoring/policy.ts'
import {
  findLastDrift,
  type LastDrift,
  listQualityWeeks,
  listQualityWindows,
} from '../../../../store/dashboard/windows.ts'
import { listRunCurves, type RunCurve } from '../../../../store/dashboard/training-detail.ts'
import { listLatestOutcomes } from '../../../../store/monitoring/outcomes.ts'
import { getVersion, findVersions } from '../../../../store/registry/versions.ts'
import { getModel } from '../../../../store/registry/models.ts'
import type { Database } from '../../../../store/postgres.ts'
import { cursorText } from '../../../http/page-cursor.ts'
import { cursorOfKey, keyOfCursor } from '../../../http/version-cursor.ts'
import { checkInput, searchedTime } from '../../../http/schemas.ts'
import { typedText } from '../../clock.ts'
import { definePage, type PageElement } from '../../page.ts'
import { drawChartSizes, ChartFigure, type ChartSizes } from '../../components/chart.tsx'
import { listHref, CursorPager } from '../../components/pager.tsx'
import { Badge, Facts, Live, type Fact, Time, DataTable } from '../../components/elements.tsx'
import { Term } from '../../glossary.tsx'
import { Crumbs, modelHref } from '../../components/links.tsx'
import { calibrationOf, scoredOutcomes, type ScoredOutcomes } from '../../components/calibration.ts'
import { qualityPoints } from '../../components/quality-points.ts'
import { VersionTable } from '../../components/version-table.tsx'
import { ChampionHistory, DriftSection, QualitySection } from './model-parts.tsx'
import { ActionSheet, ModelActions } from './actions.tsx'
import { ChampionTile, maxChanges, readChampionNow, type ChampionNow } from './champion-tile.tsx'
import { shortVersion } from '../overview/cells.tsx'
import { plain, shortReason, verdictTones } from '../../labels.ts'
import { countText } from '../../../charts/figures.ts'
import { confusionAt, type DecisionCounts } from '../../../../domain/metrics/confusion.ts'
import { builtInPrimary } from '../../../../domain/evaluation/policy.ts'
import { standInText } from '../../../../domain/tasks/judged-words.ts'
import { thresholdOf } from '../../../../domain/tasks/tasks.ts'

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

const zoneName = z.string().refine((name) => knownZone(name) !== undefined, { error: 'is not a time zone' })

export const modelPage = definePage({
  query: z.strictObject({
    /** ISO 8601, or as typed on a clock of `zone`. */
    at: z.string().max(40).optional(),
    /** That of the reader who typed the time, so that a shared address means one instant. */
    zone: z.string().max(64).optional(),
    cursor: cursorText.optional(),
    /** Only the champion, which reloads itself. */
    part: z.literal('champion').optional(),
  }),
  async load({ store }, { params, query: { at: typed, zone: typedIn, cursor, part }, zone }) {
    const typedZone = typedIn === undefined ? zone : knownZone(checkInput(zoneName, typedIn, 'zone'))!
    const at =
      typed === undefined ? undefined : checkInput(searchedTime, typedInstant(typed, typedZone), 'at')
    const { name, definition } = await getModel(store, params['name']!)
    const now = await readChampionNow(store, name)
    return {
      name,
      definition,
      now,
      at,
      below:
        part === undefined ? await loadBelow(store, { name, definition, now, at, cursor, zone }) : undefined,
    }
  },
  title: ({ name }) => name,
  view: ({ name, definition, now, at, below }, { actor, token, query: { cursor }, zone }) => {
    const path = modelHref(name)
    const tile = (
      <Live id="champion" target={listHref(path, { part: 'champion' })}>
        <ChampionTile {...now} role={actor.role}>
          {token !== undefined && (
            <ModelActions model={name} actor={actor} hasChampion={now.row.champion !== undefined} />
          )}
        </ChampionTile>
      </Live>
    )
    if (below === undefined) return tile
    const { champion } = now.row
    const liveAt = (
      <LiveAtForm path={path} zone={zone} at={at} live={below.live} first={below.first} model={name} />
    )
    return (
      <>
        <Crumbs to={[['/models', 'Models']]} />
        <h1>{name}</h1>
        <p class="quiet">
          {definition.about !== undefined && `${definition.about} `}
          {definition.owner !== undefined && `Owner: ${definition.owner}. `}
          {below.refit !== undefined && `${below.refit}. `}
          {definition.release?.risk === 'high' && <Badge tone="quiet">high risk</Badge>}{' '}
          {below.hasReviews && <a href={`${path}/reviews`}>Answers for review</a>}{' '}
          {now.changes.length > 0 && <a href="#at">Champion at a time</a>}
        </p>
        {tile}
        {at !== undefined && liveAt}
        <div class="beside">
          <QualitySection {...below.quality} />
          <DriftSection drift={below.drift} path={path} champion={champion?.version} />
        </div>
        <section class="part">
          <h2>Versions</h2>
          <VersionTable
            versions={below.versions}
            primary={definition.evaluation?.policy?.primary}
            empty="No versions yet."
          />
          <CursorPager
            first={cursor === undefined ? undefined : path}
            next={below.next === undefined ? undefined : listHref(path, { cursor: below.next })}
          />
          {below.versions.length > 0 && (
            <p class="small">
              <a href={listHref('/versions', { model: name })}>Search versions</a>
            </p>
          )}
        </section>
        {below.calibration !== undefined && (
          <details class="part">
            <summary>
              <h2>
                <Term word="Calibration" />
              </h2>
            </summary>
            <ChartFigure
              chart={below.calibration}
              note="Predicted vs observed on the latest outcomes. Dashed line = perfect calibration."
            />
          </details>
        )}
        {below.thresholds?.scored !== undefined && (
          <ThresholdSection scored={below.thresholds.scored} threshold={below.thresholds.threshold} />
        )}
        {below.curves !== undefined && (
          <details class="part">
            <summary>
              <h2>Training loss</h2>
            </summary>
            <ChartFigure
              chart={below.curves}
              note={`Loss by epoch of the last runs, the champion in colour. At the end, from the highest: ${below.lastLosses}.`}
            />
          </details>
        )}
        {now.changes.length > 0 && <ChampionHistory changes={now.changes.slice(0, 10)} />}
        {at === undefined && now.changes.length > 0 && liveAt}
        <ActionSheet />
      </>
    )
  },
})

/** The first champion, which a short history has. */
const firstOf = async (store: Database, name: string, changes: ChampionNow['changes']) =>
  changes.length < maxChanges ? changes.at(-1) : findFirstChampion(store, name)

interface Below {
  name: string
  definition: ModelDefinition
  now: ChampionNow
  at: string | undefined
  cursor: string | undefined
  zone: string
}

async function loadBelow(
  store: Database,
  { name, definition, now: { row, changes }, at, cursor, zone }: Below,
) {
  const { champion } = row
  const [found, byWeek, lastDrift, live, runs, version, answered] = await Promise.all([
    findVersions(store, {
      model: name,
      order: 'version',
      limit: versionsAPage,
      after: cursor === undefined ? undefined : keyOfCursor(cursor, 'version'),
    }),
    listQualityWeeks(store, { model: name, weeks }),
    findLastDrift(store, name),
    at === undefined ? undefined : findLiveAt(store, { model: name, at }),
    // Skips the loss curves on the page of a point in time, which shows the champion of that time first.
    at === undefined ? listRunCurves(store, { model: name, limit: maxRuns }) : [],
    champion === undefined ? undefined : getVersion(store, champion.version),
    champion === undefined
      ? []
      : listLatestOutcomes(store, { model: name, version: champion.version, limit: maxOutcomes }),
  ])
  // An installation younger than three weeks has too few weeks, so the page shows windows.
  const weekly = byWeek.length >= 3
  const [first, byWindow] = await Promise.all([
    at !== undefined && live === undefined ? firstOf(store, name, changes) : undefined,
    weekly ? [] : listQualityWindows(store, { model: name, limit: windows }),
  ])
  const measured = weekly ? byWeek : byWindow
  const points = qualityPoints(measured)
  const policy = definition.evaluation?.policy
  const metric = measured.at(-1)?.report.metric ?? (policy && builtInPrimary(policy)) ?? 'quality'
  const output = version?.manifest.output
  const calibrated = calibrationOf(answered, output)
  const marks = changes.map(({ at: changedAt, version: to }) => ({
    atMs: Date.parse(changedAt),
    name: shortVersion(name, to),
  }))
  const [qualityChart, driftChart, calibration, curves] = await Promise.all([
    drawQuality(name, { metric, zone, points, marks }),
    lastDrift && drawDrift(name, lastDrift),
    calibrated && drawCalibration(name, calibrated),
    runs.length === 0 ? undefined : drawRuns(name, runs, champion?.version),
  ])
  const threshold = output && thresholdOf(output)
  return {
    hasReviews: output !== undefined && 'review' in output && output.review !== undefined,
    refit: version && refitText(version.lineage),
    calibration,
    thresholds: threshold === undefined ? undefined : { scored: scoredOutcomes(answered, output), threshold },
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
      champion: champion?.version,
      dueAt: champion && outcomesDueAt(champion, definition.monitor, Date.now()),
      standIn: policy && standInText(policy),
    },
    drift: lastDrift && driftChart && { ...lastDrift, chart: driftChart },
  }
}

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
    { id: 'drift', title: `Drift of ${model} by feature`, wide: 460 },
    { rows: report.features.map(({ name, psi, level }) => ({ name, psi, level })), warn, alarm },
    ({ rows, ...limits }, frame) => driftSvg(rows, { ...frame, ...limits }),
  )

const drawQuality = (
  model: string,
  {
    metric,
    zone,
    ...data
  }: {
    metric: string
    zone: string
    points: readonly QualityPoint[]
    marks: readonly QualityMark[]
  },
): Promise<ChartSizes> =>
  drawChartSizes(
    { id: 'quality', title: `Live ${metricName(metric)} of ${model}`, zone },
    data,
    ({ points, marks }, frame) => qualitySvg(points, { ...frame, metric, marks }),
  )

const drawCalibration = (model: string, calibrated: Calibration): Promise<ChartSizes> =>
  drawChartSizes({ id: 'calibration', title: `Live calibration of ${model}` }, calibrated, reliabilitySvg)

/** The loss of each run, with that of the champion marked. */
const drawRuns = (
  model: string,
  runs: readonly RunCurve[],
  champion: string | undefined,
): Promise<ChartSizes> =>
  drawChartSizes(
    { id: 'runs', title: `Training loss of the last runs of ${model}` },
    runs.map(({ version, startedAt, curve }) => ({
      name: version ?? `run of ${startedAt.slice(0, 10)}`,
      points: curve,
      marked: version !== undefined && version === champion,
    })),
    runCurvesSvg,
  )

// Shows the champion at a point in time, with its release, approvals and evidence.

interface LiveAtParts {
  path: string
  zone: string
  at?: string
  live?: LiveAt
  first?: { version: string; at: string }
  model: string
}

export const LiveAtForm = ({ path, zone, at, live, first, model }: LiveAtParts): PageElement => (
  <section class="card">
    <h2>Live at a point in time</h2>
    <form class="filter" method="get" action={path} role="search" aria-label="Live at a point in time">
      <div>
        <input type="hidden" name="zone" value={zone} />
        <label for="at">Time</label>
        <input
          id="at"
          name="at"
          value={at === undefined ? '' : typedText(at, zone)}
          placeholder="2026-03-01 12:00"
          maxlength={40}
          required
          autocomplete="off"
          aria-describedby="at-hint"
        />
      </div>
      <button class="second">Show</button>
    </form>
    {at === undefined ? (
      <p class="hint" id="at-hint">
        A day, or a day and a time: <code>2026-03-01 12:00</code>
      </p>
    ) : live === undefined ? (
      <p id="at-hint">
        {first === undefined
          ? `${model} has had no champion yet.`
          : [
              `${model} had no champion then; the first was ${first.version}, since `,
              <Time at={first.at} />,
              '.',
            ]}
      </p>
    ) : (
      <ChampionThen live={live} path={path} />
    )}
  </section>
)

const ChampionThen = ({ live, path }: { live: LiveAt; path: string }): PageElement => {
  const { version, since, until, cause, actor, reason, evaluation, decisions, audit } = live
  // A rollback restores an earlier version. The approvals of that version belong to the release that promoted it.
  const release = cause === 'rollback' ? live.earnedBy : live.release
  const champion = (
    <a href={`${path}/versions/${encodeURIComponent(version)}`}>
      <strong>{version}</strong>
    </a>
  )
  const term = (
    <>
      <Time at={since} /> {until === undefined ? '(still)' : ['until ', <Time at={until} />]}
    </>
  )
  const against = evaluation?.against === undefined ? '' : ` vs ${evaluation.against}`
  const facts: (Fact | undefined)[] = [
    ['Champion', champion],
    ['From', term],
    ['Cause', `${cause} by ${actor}: ${shortReason(reason)}`],
    release && [cause === 'rollback' ? 'Promoted by' : 'Release', <Promotion release={release} />],
    evaluation && [
      'Evaluation',
      `${gateVerdictText(evaluation.verdict, { isFirst: evaluation.against === undefined })}${against}`,
    ],
    decisions.length > 0 ? ['Verdicts', <Verdicts decisions={decisions} />] : undefined,
    audit && ['Audit', <a href={`/audit?before=${audit.seq + 1}`}>row {audit.seq}</a>],
  ]
  return <Facts id="at-hint" facts={facts} />
}

const Verdicts = ({ decisions }: Pick<LiveAt, 'decisions'>): PageElement => (
  <>
    {decisions.slice(0, 3).map(({ kind, stage }) => (
      <>
        <Badge tone={verdictTones[kind]}>
          {plain(stage)}: {plain(kind)}
        </Badge>{' '}
      </>
    ))}
    {decisions.length > 3 && <span class="quiet">and earlier ones</span>}
  </>
)

const Promotion = ({ release }: { release: NonNullable<LiveAt['release']> }): PageElement => (
  <>
    <a href={`/releases/${encodeURIComponent(release.id)}`}>{plain(release.strategy)}</a> requested by{' '}
    {release.requestedBy}
    {release.approvals.length > 0 && `, approved by ${approversOf(release.approvals).join(', ')}`}
  </>
)

// Shows the decisions of a binary model at its threshold and at other thresholds, on the latest outcomes.

/** The shares of the answers that other thresholds raise: where positives are rare, all probabilities may be below 0.1. */
const alertBudgets = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5] as const

/** Counts the decisions at the threshold of the model file and at the thresholds of the alert budgets, lowest first. */
function thresholdTable(scored: ScoredOutcomes, threshold: number): DecisionCounts[] {
  const highest = scored.predicted.toSorted((one, other) => other - one)
  const others = alertBudgets.flatMap((budget) => {
    const score = highest[Math.round(budget * highest.length) - 1]
    // As many digits as a model file would have.
    return score === undefined ? [] : [Number(score.toPrecision(4))]
  })
  return [...new Set([...others, threshold])]
    .toSorted((one, other) => one - other)
    .map((each) => confusionAt(scored, each))
}

/** One form in a column, so that its values can be compared. */
const share = (value: number | null): string => (value === null ? '—' : `${(100 * value).toFixed(1)} %`)

export const ThresholdSection = ({
  scored,
  threshold,
}: {
  scored: ScoredOutcomes
  threshold: number
}): PageElement => {
  const rows = thresholdTable(scored, threshold)
  const now = rows.find((row) => row.threshold === threshold)!
  return (
    <details class="part">
      <summary>
        <h2>
          At the threshold {numberText(threshold)}: {countText(now.truePositives)} found,{' '}
          {countText(now.falseNegatives)} missed, {countText(now.falsePositives)} false alarms
        </h2>
      </summary>
      <p>
        And {countText(now.trueNegatives)} rightly not raised, of the newest{' '}
        {countText(scored.predicted.length)} outcomes.
      </p>
      <DataTable<DecisionCounts>
        caption="What another threshold would do"
        rows={rows}
        empty="No outcomes yet"
        columns={[
          {
            head: 'Threshold',
            names: true,
            cell: (row) => (
              <>
                {numberText(row.threshold)} {row === now && <Badge tone="quiet">now</Badge>}
              </>
            ),
          },
          {
            head: 'Raised',
            numeric: true,
            cell: (row) => share((row.truePositives + row.falsePositives) / scored.predicted.length),
          },
          { head: 'Found', numeric: true, cell: (row) => countText(row.truePositives) },
          { head: 'Missed', numeric: true, cell: (row) => countText(row.falseNegatives) },
          { head: 'False alarms', numeric: true, cell: (row) => countText(row.falsePositives) },
          { head: 'Recall', numeric: true, cell: (row) => share(row.recall) },
          { head: 'Precision', numeric: true, cell: (row) => share(row.precision) },
          { head: 'Accuracy', numeric: true, cell: (row) => share(row.accuracy) },
        ]}
      />
      <p class="hint">
        The threshold is <code>threshold</code> of the label in the model file,{' '}
        <code>yesNo(&#123; threshold &#125;)</code>; callers receive the probability. “Raised” is the share of
        all answers at or above a threshold: the budget of alerts. Recall is the share of the positives that
        it finds.
      </p>
    </details>
  )
}
