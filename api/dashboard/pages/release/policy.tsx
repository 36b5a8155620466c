/** What the policy of a release will do: what each stage asks for, how long that takes at the present traffic, and what it may cost. */
import { totalAlpha } from '../../../../domain/sequential/alpha-split.ts'
import type { View } from '../../page.ts'
import {
  Badge,
  countText,
  durationText,
  Facts,
  numberText,
  shareText,
  Table,
} from '../../components/elements.tsx'
import type { ReleaseSubject } from './load.ts'
import { planOf } from './stages.ts'

export const Demands = ({ release: { state }, rate }: ReleaseSubject): View => {
  const { limits, approval, watch, whenInconclusive = 'ask' } = state.policy
  const plan = planOf(state)
  const expected = plan.map(({ shareBp, asks }) => {
    const perSecond = (rate * shareBp) / 10_000
    const needMs =
      asks.minRequests === 0 ? 0 : perSecond > 0 ? (1_000 * asks.minRequests) / perSecond : Infinity
    return Math.max(asks.minMs, needMs)
  })
  const rows = plan.map((planned, index) => ({ ...planned, expectedMs: expected[index]! }))
  const totalMs = expected.reduce((sum, ms) => sum + ms, 0)
  const facts: [string, string][] = [
    [
      'At present traffic',
      plan.length > 0 && rate === 0
        ? 'no request comes: every stage would be held, and taken back at its deadline'
        : `${numberText(Number(rate.toPrecision(3)))} requests a second; all stages take ${Number.isFinite(totalMs) ? `at least ${durationText(totalMs)}` : 'longer than anybody waits'}`,
    ],
    ['Approvals', `${approval.approvers}, within ${durationText(approval.withinMs)}`],
    [
      'Taken back by itself',
      `on proof of more errors than ${numberText(limits.errorRatio)} × the control's, more slow answers than ${numberText(limits.slowRatio)} ×, or more than ${numberText(100 * limits.guardRate)} % bad in one tick`,
    ],
    [
      'A good candidate is taken back wrongly',
      `at most once in ${countText(1 / totalAlpha(limits.alpha))} releases (Σα ${numberText(totalAlpha(limits.alpha))})`,
    ],
    ['Harm budget', `${numberText(limits.harmBudget)} bad answers above the control's rate`],
    [
      'Without enough evidence at a deadline',
      whenInconclusive === 'ask'
        ? `a person is asked for ${durationText(watch.decisionMs)}, then it is taken back`
        : 'it ends and may be released again',
    ],
    [
      'When its watcher dies',
      `every replica drops the candidate within ${durationText(watch.exposureMs)} by itself`,
    ],
  ]
  return (
    <section class="card" aria-labelledby="policy-heading">
      <h2 id="policy-heading">What the policy will do</h2>
      <Table
        caption="What each stage asks for"
        hideCaption
        rows={rows}
        empty="This strategy has no watched stage: floors and an approval decide."
        columns={[
          { head: 'Stage', names: true, cell: ({ name }) => name },
          { head: 'At least', numeric: true, cell: ({ asks }) => durationText(asks.minMs) },
          { head: 'Requests', numeric: true, cell: ({ asks }) => countText(asks.minRequests) },
          {
            head: 'Expected',
            numeric: true,
            cell: ({ expectedMs, asks }) => (
              <>
                {Number.isFinite(expectedMs) ? durationText(expectedMs) : 'never'}
                {expectedMs > asks.deadlineMs && (
                  <>
                    {' '}
                    <Badge tone="warn">beyond its deadline</Badge>
                  </>
                )}
              </>
            ),
          },
          { head: 'At most', numeric: true, cell: ({ asks }) => durationText(asks.deadlineMs) },
        ]}
      />
      <Facts facts={facts} />
      {plan.length > 0 && (
        <div id="simulation" hx-morph-skip="">
          <p>
            <a
              class="button second"
              href={`/releases/${state.id}/simulation`}
              hx-get={`/releases/${state.id}/simulation`}
              hx-target="#simulation"
              hx-select="#simulation > *"
              hx-swap="innerHTML"
            >
              Simulate it on recorded traffic
            </a>
          </p>
        </div>
      )}
      {state.strategy === 'rolling' && (
        <p class="quiet small">Shares are shares of the replicas; {shareText(10_000)} is all of them.</p>
      )}
    </section>
  )
}
