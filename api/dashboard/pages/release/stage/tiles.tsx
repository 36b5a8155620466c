/** Shows a running stage: each metric of candidate and control with its evidence, and what promotes or rolls back the release. */
import { countText, percentOf } from '../../../../../charts/figures.ts'
import { evidenceTileSvg, type TilePoint } from './evidence-tile.ts'
import type { ReleaseState } from '../../../../../domain/release/state.ts'
import type { PageElement } from '../../../page.ts'
import { Chart, durationText, numberText } from '../../../components/elements.tsx'
import type { ReleaseSubject } from '../load.ts'
import type { StageArm, StageRow } from '../stages.ts'

/** Name, its place in the statistics of a verdict, and its count in a stage where one is kept. */
const metrics = [
  { name: 'Errors', key: 'errors', count: 'errors' },
  { name: 'Invalid outputs', key: 'invalid', count: 'invalid' },
  { name: 'Slow responses (p95)', key: 'slow95', count: 'slow' },
  { name: 'Slow responses (p99)', key: 'slow99' },
  { name: 'Score shift', key: 'scoreShift' },
] as const

interface MetricTile {
  name: string
  key: string
  candidate: string
  control: string
  points: TilePoint[]
  /** The last share of the threshold; 1 or more rolls back. */
  share: number
}

export function metricTiles({ verdicts }: ReleaseSubject, now: StageRow): MetricTile[] {
  return metrics.flatMap((metric): MetricTile[] => {
    const { name, key } = metric
    const points = verdicts.flatMap(({ at, statistics }): TilePoint[] => {
      const [logE, threshold] = [statistics[`${key}LogE`], statistics[`${key}Threshold`]]
      if (typeof logE !== 'number' || typeof threshold !== 'number' || threshold <= 0) return []
      return [{ atMs: Date.parse(at), share: Math.max(0, logE / threshold) }]
    })
    const last = verdicts.at(-1)?.statistics
    if (points.length === 0 || last === undefined) return []
    const rateOf = (arm: StageArm, pooled: number | null | undefined) =>
      'count' in metric && arm.requests > 0
        ? `${countText(arm[metric.count])} of ${countText(arm.requests)} (${percentOf(arm[metric.count] / arm.requests)})`
        : percentOf(pooled)
    return [
      {
        name,
        key,
        candidate: rateOf(now.candidate, last[`${key}Canary`]),
        control: rateOf(now.control, last[`${key}Control`]),
        points,
        share: points.at(-1)!.share,
      },
    ]
  })
}

/** The stage that runs; absent before the first and after the end. */
export const runningStage = (way: readonly StageRow[]): StageRow | undefined =>
  way.find(({ status }) => status === 'in_progress')

export const RunningStage = ({
  subject,
  way,
}: {
  subject: ReleaseSubject
  way: readonly StageRow[]
}): PageElement => {
  const now = runningStage(way)
  if (now === undefined) return <></>
  const { state } = subject.release
  const tiles = metricTiles(subject, now)
  const excess = way.reduce((sum, row) => sum + row.excess, 0)
  const { minMs, minRequests } = now.requirements
  const budget = state.policy.limits.harmBudget
  return (
    <section class="card" aria-labelledby="running-heading">
      <h2 id="running-heading">Candidate against control: {now.name}</h2>
      <div class="tiles">
        <Quota name="Requests" have={now.candidate.requests} need={minRequests} textOf={countText} />
        <Quota name="Time observed" have={now.observedMs} need={minMs} textOf={durationText} />
        <Quota
          name="Failed above control"
          have={Math.max(0, excess)}
          need={budget}
          textOf={(value) => numberText(Number(value.toPrecision(3)))}
          bad
        />
        {tiles.map(({ name, key, candidate, control, points, share }) => (
          <div class="tile">
            <h3>{name}</h3>
            <p class="small">
              Candidate <strong>{candidate}</strong>
              <br />
              Control {control}
            </p>
            <Chart svg={evidenceTileSvg(points, { id: `tile-${key}`, title: `Evidence of more: ${name}` })} />
            <p class="quiet small">{percentOf(share)} of what rolls back</p>
          </div>
        ))}
      </div>
      <WhatHappens state={state} now={now} way={way} tiles={tiles} excess={excess} />
    </section>
  )
}

interface QuotaParts {
  name: string
  have: number
  need: number
  textOf: (value: number) => string
  bad?: boolean
}

const Quota = ({ name, have, need, textOf, bad }: QuotaParts): PageElement => (
  <div class="tile">
    <h3>{name}</h3>
    <p class="figure">
      {textOf(have)} <span class="quiet small">of {textOf(need)}</span>
    </p>
    <progress
      class={bad ? 'bad' : undefined}
      value={Math.min(have, need)}
      max={Math.max(need, 1)}
      aria-label={name}
    />
    <p class="quiet small">
      {bad
        ? 'rolls back when used up'
        : have >= need
          ? 'enough'
          : `${textOf(need - have)} until the next step`}
    </p>
  </div>
)

interface Happening {
  state: ReleaseState
  now: StageRow
  way: readonly StageRow[]
  tiles: readonly MetricTile[]
  excess: number
}

/** What promotes and what rolls back, in words with the present figures. */
const WhatHappens = ({ state, now, way, tiles, excess }: Happening): PageElement => {
  const { limits, watch } = state.policy
  const next =
    way[way.indexOf(now) + 1]?.name ?? (now.stage === 'probation' ? 'the end of the release' : '100 %')
  const { minMs, minRequests, deadlineMs } = now.requirements
  const nearest = tiles.toSorted((one, other) => other.share - one.share)[0]
  const isLast = way.findLast(({ stage }) => stage === 'canary') === now
  const needsProof =
    now.stage === 'canary' && limits.promotion !== 'off' && (limits.promotion.at !== 'last_stage' || isLast)
  const leftMs = deadlineMs * (1 + state.extensions) - now.observedMs
  return (
    <dl class="outcomes">
      <dt>Continues to {next}</dt>
      <dd>
        with {countText(minRequests)} requests ({countText(now.candidate.requests)} now) and{' '}
        {durationText(minMs)} ({durationText(now.observedMs)} now), and no regression
        {needsProof && ', and proof that it is not worse'}
      </dd>
      <dt>Rolls back</dt>
      <dd>
        when the evidence for more errors, invalid outputs or slow responses reaches its threshold
        {nearest !== undefined && ` (nearest: ${nearest.name.toLowerCase()}, ${percentOf(nearest.share)})`},
        at {numberText(limits.harmBudget)} failed requests above control (
        {numberText(Number(excess.toPrecision(3)))} now), above {percentOf(limits.guardRate)} failures, or
        after {durationText(watch.exposureMs)} without a verdict
      </dd>
      <dt>Deadline</dt>
      <dd>
        {leftMs > 0 ? `in ${durationText(leftMs)}` : 'passed'}: without enough evidence{' '}
        {state.policy.whenInconclusive === 'end' ? 'the release ends' : 'an approver decides'}
      </dd>
    </dl>
  )
}
