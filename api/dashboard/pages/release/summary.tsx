/**
 * Shows on one screen what a decision rests on: the gain, the worst slice, the data and the risk. The request for an approval says the same
 * in its message.
 */
import { countText, percentOf, truncated } from '../../../charts/figures.ts'
import { totalAlpha } from '../../../../domain/canary/alpha-split.ts'
import type { GateReport } from '../../../../domain/evaluation/gate.ts'
import { comparedValue } from '../../../../domain/evaluation/metric-table.ts'
import { worstSlicesFirst } from '../../../../domain/evaluation/slices.ts'
import { gateVerdictText } from '../../../../domain/evaluation/verdict-words.ts'
import { gainText, levelPercent, metricName, metricText, numberText } from '../../../../domain/figures.ts'
import { answerRows } from '../../../../domain/monitoring/drift.ts'
import type { PageElement } from '../../page.ts'
import { Age, Badge, Chart } from '../../components/elements.tsx'
import { Term } from '../../glossary.tsx'
import { levelText } from '../../labels.ts'
import { gateTones, SliceVerdict } from './evaluation.tsx'
import { gainBarSvg } from './gain-bar.ts'
import type { ReleaseSubject } from './load.ts'
import { exposedCounts } from './rollback.tsx'
import { excessOf, type StageRow } from './stages.ts'

/** A longer name of a slice or a feature is cut; its part of the page has it whole. */
const nameLength = 40

interface SummaryParts {
  subject: ReleaseSubject
  stages: readonly StageRow[]
}

export const Summary = ({ subject, stages }: SummaryParts): PageElement => (
  <div class="summary" role="group" aria-label="What the decision rests on">
    <Gain {...subject} />
    <WorstSlice report={subject.candidate?.report} />
    <Data {...subject} />
    <Risk subject={subject} stages={stages} />
  </div>
)

const Gain = ({ candidate, release }: ReleaseSubject): PageElement => {
  const report = candidate?.report
  const { baseline } = release.state
  const row = report?.metrics.find(({ metric }) => metric === report.policy.primary)
  if (report === undefined || row === undefined)
    return (
      <section>
        <h2>Gain</h2>
        <p class="empty">{report?.reasons[0]?.message ?? 'No evaluation'}</p>
      </section>
    )
  const { champion, delta, low, high, margin, floor } = row
  const value = metricText(comparedValue(row))
  return (
    <section>
      <h2>
        {baseline === undefined || delta === null ? 'Quality' : 'Gain'}{' '}
        <Badge tone={gateTones[report.verdict]}>
          {gateVerdictText(report.verdict, { isFirst: baseline === undefined })}
        </Badge>
      </h2>
      <p class="figure">
        <Term word={metricName(row.metric)} />{' '}
        {baseline === undefined || delta === null ? value : gainText(delta)}
      </p>
      {low !== null && high !== null && delta !== null && (
        <Chart
          svg={gainBarSvg(
            { delta, low, high, limit: margin === null ? undefined : -margin },
            { id: 'gain', title: 'Gain with its interval and limit' },
          )}
        />
      )}
      <p class="quiet small">
        {low !== null &&
          `${levelPercent(report.policy.confidence)} % interval ${gainText(low)} to ${gainText(high)}`}
        {margin !== null && low !== null && `, limit ${gainText(-margin)}`}
        {champion === null && (floor === null ? 'no floor' : `floor ${numberText(floor)}`)}
      </p>
    </section>
  )
}

const WorstSlice = ({ report }: { report: GateReport | undefined }): PageElement => {
  const slices = report?.slices ?? []
  const [worst] = worstSlicesFirst(slices, report?.policy.slices.metric)
  const [found] = report?.sliceSearch?.found ?? []
  return (
    <section>
      <h2>Worst slice {worst !== undefined && <SliceVerdict verdict={worst.verdict} />}</h2>
      {worst === undefined ? (
        <p class="empty">No slices defined</p>
      ) : (
        <>
          <p class="figure">
            {metricName(report!.policy.slices.metric)}{' '}
            {worst.delta === null ? metricText(worst.challenger) : gainText(worst.delta)}
          </p>
          <p class="small">
            {worst.name} <span class="quiet">· {countText(worst.rows)} rows</span>
          </p>
        </>
      )}
      {found !== undefined && <p class="small">Search found worse: {truncated(found.name, nameLength)}</p>}
    </section>
  )
}

const Data = ({ candidate, drift, release, nowMs }: ReleaseSubject): PageElement => {
  const { version } = release.state
  const asOf = candidate?.snapshot.asOf
  const untilMs = release.endedAt === undefined ? nowMs : Date.parse(release.startedAt)
  const validation = candidate?.validation
  return (
    <section>
      <h2>
        Data{' '}
        {validation !== undefined && (
          <Badge tone={validation.verdict === 'pass' ? 'good' : 'quiet'}>
            {levelText(validation.verdict)}
          </Badge>
        )}
      </h2>
      {asOf === undefined ? (
        <p class="empty">Unknown</p>
      ) : (
        <p class="figure">
          <Age at={asOf} nowMs={untilMs} /> old
        </p>
      )}
      {drift.length === 0 && <p class="quiet small">Drift: not measured yet</p>}
      {drift.map(({ version: of, level, report }) => {
        const moved = [...report.features, ...answerRows(report)]
          .filter((row) => row.level === 'alarm' || row.level === 'warn')
          .toSorted((one, other) => (other.psi ?? 0) - (one.psi ?? 0))
          .map(({ name }) => truncated(name, nameLength))
        return (
          <p class={level === 'warn' || level === 'alarm' ? 'small' : 'quiet small'}>
            {of === version ? 'Candidate' : 'Champion'} drift: {levelText(level)}
            {moved.length > 0 && ` (${moved.slice(0, 3).join(', ')}${moved.length > 3 ? ' …' : ''})`}
          </p>
        )
      })}
    </section>
  )
}

const Risk = ({ subject, stages }: SummaryParts): PageElement => {
  const { state, endedAt } = subject.release
  const { limits } = state.policy
  const { requests, bad } = exposedCounts(stages)
  const used = Math.max(0, excessOf(stages))
  const share = used / Math.max(1, limits.harmBudget)
  return (
    <section>
      <h2>Risk</h2>
      <p class="figure">
        {requests === 0 ? (
          `No request${endedAt === undefined ? ' yet' : ''}`
        ) : (
          <>
            {countText(bad)} of {countText(requests)} failed
          </>
        )}
      </p>
      <p class="quiet small">
        {state.baseline === undefined ? (
          'No champion to compare failures with'
        ) : (
          <>
            <Term word="Failure budget" />: {requests > 0 && `${numberText(Number(used.toPrecision(3)))} of `}
            {numberText(limits.harmBudget)}
            {requests > 0 && ' used'}
            {used > 0 && ` (${percentOf(share)})`}
          </>
        )}
      </p>
      {state.baseline !== undefined && (
        <p class="quiet small">
          <Term word="False-rollback risk" />{' '}
          <span class="nowrap">≤ {numberText(100 * totalAlpha(limits.alpha))} %</span>
        </p>
      )}
    </section>
  )
}
