/** Shows the rollout plan of a release: requirements and estimated time of each stage, and the limits that roll it back. */
import { numberText } from '../../../../domain/figures.ts'
import { countText } from '../../../charts/figures.ts'
import { totalAlpha } from '../../../../domain/canary/alpha-split.ts'
import type { ReleasePolicy } from '../../../../domain/release/policy.ts'
import { targetText } from '../../../../domain/serving/target.ts'
import { sentenceCase } from '../../labels.ts'
import type { PageElement } from '../../page.ts'
import { Badge, durationText, Facts, shareText, DataTable } from '../../components/elements.tsx'
import type { ReleaseSubject } from './load.ts'
import { expectedMs, noStages, plannedStages } from './stages.ts'

export const RolloutPlan = ({ release: { state }, rate }: ReleaseSubject): PageElement => {
  const isOpen = rate !== undefined
  const { perSecond, spanMs } = rate ?? { perSecond: 0, spanMs: 0 }
  const plan = plannedStages(state)
  const rows = plan.map((planned) => ({ ...planned, expectedMs: expectedMs(planned, perSecond) }))
  const totalMs = rows.reduce((sum, row) => sum + row.expectedMs, 0)
  const total = Number.isFinite(totalMs) ? `≥ ${durationText(totalMs)}` : 'No estimate'
  const estimate =
    // A first version meets no traffic before it is champion.
    plan.length > 0 && perSecond === 0 && state.baseline !== undefined
      ? 'No traffic: would time out and roll back'
      : `${total} at ${numberText(Number(perSecond.toPrecision(3)))} req/s, the mean of the last ${durationText(spanMs)}`
  const facts = planFacts(state.policy, isOpen ? estimate : undefined)
  return (
    <section aria-labelledby="policy-heading">
      <h2 id="policy-heading">Rollout plan</h2>
      <Facts facts={[...approvalFacts(state.policy), ...(plan.length > 0 ? facts : [])]} />
      <DataTable
        caption="Requirements of each stage"
        rows={rows}
        empty={noStages}
        columns={[
          { head: 'Stage', names: true, cell: ({ name }) => name },
          {
            head: 'Min. time',
            numeric: true,
            cell: ({ requirements }) => durationText(requirements.minMs),
          },
          {
            head: 'Min. requests',
            numeric: true,
            cell: ({ requirements }) => countText(requirements.minRequests),
          },
          {
            head: 'Estimate',
            numeric: true,
            cell: (row) =>
              isOpen ? <Estimate ms={row.expectedMs} deadlineMs={row.requirements.deadlineMs} /> : '—',
          },
          {
            head: 'Deadline',
            numeric: true,
            cell: ({ requirements }) => durationText(requirements.deadlineMs),
          },
        ]}
      />
      {state.strategy === 'rolling' && (
        <p class="quiet small">Shares are shares of the replicas; {shareText(10_000)} is all of them.</p>
      )}
      {plan.length > 0 && <SimulationLink id={state.id} />}
    </section>
  )
}

const approvalFacts = ({ approval }: ReleasePolicy): (readonly [string, string])[] => [
  [
    'Approvals',
    approval.approvers === 0
      ? 'not needed'
      : `${approval.approvers}, within ${durationText(approval.withinMs)}`,
  ],
]

/** Lists the limits of the stages of a release policy by name. `estimate` is absent once the release has ended. */
function planFacts(
  { limits, shadow, targeted, watch, whenInconclusive = 'ask' }: ReleasePolicy,
  estimate: string | undefined,
): (readonly [string, string])[] {
  const { disagreement } = limits
  const errors = limits.errorRatio === 1 ? 'control' : `${numberText(limits.errorRatio)}× control`
  return [
    ...(estimate === undefined ? [] : [['Estimated total', estimate] as const]),
    ...(targeted === undefined
      ? []
      : [['Before any share', sentenceCase(targetText(targeted.target))] as const]),
    [
      'Automatic rollback',
      `errors above ${errors}, slow responses > ${numberText(limits.slowRatio)}× control, or > ${numberText(100 * limits.guardRate)} % failures in one interval`,
    ],
    ['False-rollback risk', `≤ ${numberText(100 * totalAlpha(limits.alpha))} % per release`],
    [
      'Failure budget',
      `${numberText(limits.harmBudget)} failed requests more than the control would have had`,
    ],
    ...(shadow === undefined || disagreement === 'off'
      ? []
      : [
          [
            'If answers differ',
            `by more than ${numberText(100 * disagreement.max)} % in the shadow: ${disagreement.action === 'ask' ? 'asks an approver' : 'rolls back'}`,
          ] as const,
        ]),
    [
      'If inconclusive',
      whenInconclusive === 'ask'
        ? `asks an approver, rolls back after ${durationText(watch.decisionMs)}`
        : 'ends; can be released again',
    ],
    ['If monitoring stops', `replicas return to the champion within ${durationText(watch.exposureMs)}`],
  ]
}

const Estimate = ({ ms, deadlineMs }: { ms: number; deadlineMs: number }): PageElement => (
  <>
    {Number.isFinite(ms) ? durationText(ms) : 'No traffic'}
    {ms > deadlineMs && [' ', <Badge tone="quiet">will miss deadline</Badge>]}
  </>
)

const SimulationLink = ({ id }: { id: string }): PageElement => (
  <div id="simulation" hx-morph-skip="">
    <p>
      <a
        class="button second"
        href={`/releases/${id}/simulation`}
        hx-get={`/releases/${id}/simulation`}
        hx-target="#simulation"
        hx-select="#simulation > *"
        hx-swap="innerHTML"
      >
        Simulate on recorded traffic
      </a>
    </p>
  </div>
)
