/** How the release has gone so far: charts of its stages and its evidence, and the ledger of what it has cost. */
import { evidenceOf, evidenceSvg } from '../../../../charts/evidence.ts'
import { timelineSvg } from '../../../../charts/timeline.ts'
import type { View } from '../../page.ts'
import { drawnOnce } from '../../components/chart-cache.ts'
import {
  Badge,
  Chart,
  countText,
  durationText,
  numberText,
  Table,
  type Tone,
} from '../../components/elements.tsx'
import { plain, verdictTones } from '../../labels.ts'
import type { ReleaseSubject } from './load.ts'
import type { Side, WayRow } from './stages.ts'

export interface ProgressCharts {
  timeline: string
  evidence: string
}

/** Nothing before the first request has reached the candidate. Drawn anew only when there is a new verdict, or a stage has begun. */
export async function drawProgress(
  { release: { state, endedAt }, verdicts, nowMs }: ReleaseSubject,
  way: readonly WayRow[],
): Promise<ProgressCharts | undefined> {
  const begun = way.filter(({ fromMs }) => fromMs !== undefined)
  if (begun.length === 0) return undefined
  const nameOf = new Map(way.map(({ stage, stageIndex, name }) => [`${stage}${stageIndex}`, name]))
  const named = verdicts.map(({ at, stage, stageIndex, kind, reasons, statistics }) => ({
    atMs: Date.parse(at),
    stage: nameOf.get(`${stage}${stageIndex}`) ?? plain(stage),
    verdict: { kind, reasons, statistics },
  }))
  const key = `${state.id} ${verdicts.at(-1)?.id ?? 0} ${begun.length} ${state.stage} ${endedAt ?? ''}`
  const [timeline, evidence] = await Promise.all([
    drawnOnce(`timeline ${key}`, () =>
      timelineSvg(
        {
          stages: begun.map(({ name, fromMs, toMs, shareBp, stage, verdict }) => ({
            name,
            fromMs: fromMs!,
            toMs: toMs ?? null,
            shareBp: stage === 'shadow' ? 0 : shareBp,
            verdict: verdict === undefined ? undefined : verdict.kind,
          })),
          harm: named.flatMap(({ atMs, verdict: { statistics } }) => {
            const excess = statistics['excessBad']
            return excess === null || excess === undefined ? [] : [{ atMs, excess }]
          }),
          harmBudget: state.policy.limits.harmBudget,
          nowMs,
        },
        { id: 'timeline', title: 'How has the release gone so far?', width: 560 },
      ),
    ),
    drawnOnce(`evidence ${key}`, () =>
      evidenceSvg(evidenceOf(named), {
        id: 'evidence',
        title: 'How far is the evidence from its thresholds?',
        width: 560,
      }),
    ),
  ])
  return { timeline, evidence }
}

const places: Readonly<Record<WayRow['place'], [Tone, string]>> = {
  passed: ['good', 'passed'],
  now: ['info', 'now'],
  to_come: ['quiet', 'to come'],
  stopped: ['bad', 'stopped'],
}

export const Progress = ({
  way,
  charts,
  budget,
}: {
  way: readonly WayRow[]
  charts: ProgressCharts | undefined
  budget: number
}): View => {
  const excess = way.reduce((sum, row) => sum + row.excess, 0)
  return (
    <section class="card" aria-labelledby="way-heading">
      <h2 id="way-heading">Stages, evidence and harm</h2>
      <Table
        caption="Stages"
        hideCaption
        rows={way}
        empty="This strategy has no watched stage: floors and an approval decide."
        columns={[
          {
            head: 'Stage',
            names: true,
            cell: ({ name, place }) => (
              <>
                {name} <Badge tone={places[place][0]}>{places[place][1]}</Badge>
              </>
            ),
          },
          {
            head: 'Watched',
            cell: ({ watchedMs, asks, place }) => (
              <Meter
                label="time watched"
                have={watchedMs}
                need={asks.minMs}
                text={`${durationText(watchedMs)} of ${durationText(asks.minMs)}`}
                shown={place !== 'to_come'}
              />
            ),
          },
          {
            head: 'Requests',
            cell: ({ candidate, asks, place }) => (
              <Meter
                label="requests"
                have={candidate.requests}
                need={asks.minRequests}
                text={`${countText(candidate.requests)} of ${countText(asks.minRequests)}`}
                shown={place !== 'to_come'}
              />
            ),
          },
          { head: 'Bad, candidate', numeric: true, cell: ({ candidate }) => badText(candidate) },
          { head: 'Bad, control', numeric: true, cell: ({ control }) => badText(control) },
          {
            head: 'Harm',
            numeric: true,
            cell: (row) => (row.place === 'to_come' ? '–' : numberText(row.excess)),
          },
          {
            head: 'Last verdict',
            cell: ({ verdict }) =>
              verdict === undefined ? (
                '–'
              ) : (
                <>
                  <Badge tone={verdictTones[verdict.kind]}>{plain(verdict.kind)}</Badge>{' '}
                  <span class="small">{verdict.reasons.map(({ message }) => message).join('; ')}</span>
                </>
              ),
          },
        ]}
      />
      <p class="quiet small">
        Harm is what the candidate answered badly above the control’s rate: {numberText(excess)} of a budget
        of {numberText(budget)} bad answers.
      </p>
      {charts !== undefined && (
        <div class="grid charts">
          <Chart svg={charts.timeline} />
          <Chart svg={charts.evidence} />
        </div>
      )}
    </section>
  )
}

const badText = ({ requests, bad }: Side): string =>
  requests === 0 ? '–' : bad === 0 ? '0' : `${countText(bad)} (${numberText((100 * bad) / requests)} %)`

const Meter = ({
  label,
  have,
  need,
  text,
  shown,
}: {
  label: string
  have: number
  need: number
  text: string
  shown: boolean
}): View => (
  <>
    <span class="nowrap small">{shown ? text : text.replace(/^.* of /, '')}</span>
    {shown && need > 0 && <progress value={Math.min(have, need)} max={need} aria-label={label} />}
  </>
)
