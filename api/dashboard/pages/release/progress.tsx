/** Shows the stages of a release with their requests, failures and verdicts, and charts of its evidence. */
import { numberText } from '../../../../domain/figures.ts'
import { countText, percentOf } from '../../../charts/figures.ts'
import { evidencePoints, evidenceSvg } from '../../../charts/evidence.ts'
import { timelineSvg } from '../../../charts/timeline.ts'
import type { PageElement } from '../../page.ts'
import { cachedChart } from '../../components/chart-cache.ts'
import { Badge, Chart, durationText, DataTable } from '../../components/elements.tsx'
import type { TableColumn, BadgeTone } from '../../components/elements.tsx'
import { plain, verdictTones } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'
import { noStages, type StageArm, type StageRow } from './stages.ts'

export interface ProgressCharts {
  timeline: string
  evidence: string
}

/** Draws the charts; undefined before the first request reaches the candidate. Drawn again when a verdict arrives or a stage starts. */
export async function drawProgress(
  { release: { state, endedAt }, verdicts, nowMs }: ReleaseSubject,
  stages: readonly StageRow[],
  zone: string,
): Promise<ProgressCharts | undefined> {
  const begun = stages.filter(({ fromMs }) => fromMs !== undefined)
  if (begun.length === 0) return undefined
  const nameOf = new Map(stages.map(({ stage, stageIndex, name }) => [`${stage}${stageIndex}`, name]))
  const named = verdicts.map(({ at, stage, stageIndex, kind, reasons, statistics }) => ({
    atMs: Date.parse(at),
    stage: nameOf.get(`${stage}${stageIndex}`) ?? plain(stage),
    verdict: { kind, reasons, statistics },
  }))
  const key = `${zone} ${state.id} ${verdicts.at(-1)?.id ?? 0} ${begun.length} ${state.stage} ${endedAt ?? ''}`
  const [timeline, evidence] = await Promise.all([
    cachedChart(`timeline ${key}`, () =>
      timelineSvg(
        {
          stages: begun.map(({ name, fromMs, toMs, shareBp, stage, verdict }) => ({
            name,
            fromMs: fromMs!,
            toMs: toMs ?? null,
            shareBp: stage === 'shadow' ? 0 : shareBp,
            verdict: verdict?.kind,
          })),
          harm: named.flatMap(({ atMs, verdict: { statistics } }) => {
            const excess = statistics['excessBad']
            return excess === null || excess === undefined ? [] : [{ atMs, excess }]
          }),
          harmBudget: state.policy.limits.harmBudget,
          nowMs,
        },
        { id: 'timeline', title: 'Traffic share and failure budget over time', width: 560, zone },
      ),
    ),
    cachedChart(`evidence ${key}`, () =>
      evidenceSvg(evidencePoints(named), {
        id: 'evidence',
        title: 'Evidence as a share of its decision thresholds',
        width: 560,
        zone,
      }),
    ),
  ])
  return { timeline, evidence }
}

const statuses: Readonly<Record<StageRow['status'], [BadgeTone, string]>> = {
  passed: ['good', 'passed'],
  in_progress: ['quiet', 'in progress'],
  upcoming: ['quiet', 'upcoming'],
  not_reached: ['quiet', 'not reached'],
  failed: ['bad', 'failed'],
}

const isReached = (status: StageRow['status']): boolean => status !== 'upcoming' && status !== 'not_reached'

interface EvidenceParts {
  stages: readonly StageRow[]
  charts: ProgressCharts | undefined
}

export const LiveEvidence = ({ stages, charts }: EvidenceParts): PageElement =>
  stages.length > 0 && !stages.some(({ status }) => isReached(status)) ? (
    <p class="empty">
      No request has reached the candidate. Before that, <a href="#gates">the gates</a> decide.
    </p>
  ) : (
    <section aria-labelledby="stages-heading">
      <h2 id="stages-heading">Stages</h2>
      <DataTable caption="Stages" hideCaption rows={stages} empty={noStages} columns={columns} />
      {charts !== undefined && (
        <details id="stage-charts">
          <summary>Charts</summary>
          <div class="grid charts">
            <Chart svg={charts.timeline} />
            <Chart svg={charts.evidence} />
          </div>
        </details>
      )}
    </section>
  )

const columns: TableColumn<StageRow>[] = [
  {
    head: 'Stage',
    names: true,
    cell: ({ name, status }) => (
      <>
        {name} <Badge tone={statuses[status][0]}>{statuses[status][1]}</Badge>
      </>
    ),
  },
  {
    head: 'Observed',
    cell: ({ observedMs, requirements, status }) => (
      <Meter
        label="time observed"
        have={observedMs}
        need={requirements.minMs}
        textOf={durationText}
        shown={isReached(status)}
      />
    ),
  },
  {
    head: 'Requests',
    cell: ({ candidate, requirements, status }) => (
      <Meter
        label="requests"
        have={candidate.requests}
        need={requirements.minRequests}
        textOf={countText}
        shown={isReached(status)}
      />
    ),
  },
  { head: 'Failed (canary)', numeric: true, cell: ({ candidate }) => failedText(candidate) },
  { head: 'Failed (control)', numeric: true, cell: ({ control }) => failedText(control) },
  {
    head: 'Failure budget used',
    numeric: true,
    cell: (row) => (isReached(row.status) ? numberText(row.excess) : '—'),
  },
  {
    head: 'Last verdict',
    cell: ({ verdict }) =>
      verdict === undefined ? (
        '—'
      ) : (
        <>
          <Badge tone={verdictTones[verdict.kind]}>{plain(verdict.kind)}</Badge>{' '}
          <span class="small">{verdict.reasons.map(({ message }) => message).join('; ')}</span>
        </>
      ),
  },
]

const failedText = ({ requests, bad }: StageArm): string =>
  requests === 0 ? '—' : bad === 0 ? '0' : `${countText(bad)} (${percentOf(bad / requests)})`

interface Progress {
  label: string
  have: number
  need: number
  textOf: (value: number) => string
  /** Whether the stage has begun. Before that, only the requirement is shown. */
  shown: boolean
}

/** Without a requirement, it shows what there is. */
const Meter = ({ label, have, need, textOf, shown }: Progress): PageElement => (
  <>
    <span class="nowrap small">
      {!shown
        ? need > 0
          ? textOf(need)
          : '—'
        : need > 0
          ? `${textOf(have)} of ${textOf(need)}`
          : textOf(have)}
    </span>
    {shown && need > 0 && <progress value={Math.min(have, need)} max={need} aria-label={label} />}
  </>
)
