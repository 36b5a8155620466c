/**
 * Shows where the candidate's predictions differ from the champion's: by slice (worst first), by direction and by the share of each answer.
 * Also shows business metrics from user events and metrics of other systems.
 */
import { countText, percentOf } from '../../../charts/figures.ts'
import type { BusinessRow } from '../../../../domain/canary/business-metric.ts'
import type { ExternalRow } from '../../../../domain/canary/external/external-metric.ts'
import type { DisagreementReport, DisagreementRow } from '../../../../domain/canary/disagreement.ts'
import { fourDigits, ratioOf } from '../../../../domain/figures.ts'
import { sumOf } from '@tenure/sequential'
import type { AnswerCounts, AnswerEvidence } from '../../../../store/release/evidence.ts'
import type { PageElement } from '../../page.ts'
import { Badge, DataTable } from '../../components/elements.tsx'

export const AnswersSection = ({ evidence }: { evidence: AnswerEvidence }): PageElement => {
  const { disagreement, answers, business, external, served } = evidence
  if ((disagreement ?? answers ?? business ?? external ?? served) === undefined) return <></>
  return (
    <section aria-labelledby="answers-heading">
      <h2 id="answers-heading">Answers beside the champion</h2>
      {served !== undefined && <p>Beside the training path: {served}.</p>}
      {disagreement !== undefined && <Disagreement report={disagreement} />}
      {answers !== undefined && <Shares answers={answers} />}
      {business !== undefined && <Business rows={business} />}
      {external !== undefined && <External rows={external} />}
    </section>
  )
}

const Disagreement = ({ report }: { report: DisagreementReport }): PageElement => {
  const { measure, max, action, all, slices, changes } = report
  return (
    <>
      <p>
        In the shadow, {measure === 'decisions' ? 'the decision changes for' : 'the mean distance is'}{' '}
        <strong>{percentOf(all.mean)}</strong>
        {measure === 'decisions' ? ` of ${countText(all.pairs)} users` : ` for ${countText(all.pairs)} users`}
        . {action === 'rollback' ? 'The release rolls back' : 'An approver decides'} above {percentOf(max)}.
      </p>
      <DataTable<DisagreementRow>
        caption="Disagreement in the shadow, slices worst first"
        rows={[all, ...slices]}
        empty="No pairs yet"
        columns={[
          { head: 'Slice', names: true, cell: ({ name }) => name },
          { head: 'Users', numeric: true, cell: ({ pairs }) => countText(pairs) },
          {
            head: measure === 'decisions' ? 'Other decision' : 'Mean distance',
            numeric: true,
            cell: ({ mean, pairs }) => (pairs === 0 ? '—' : percentOf(mean)),
          },
          {
            head: '95 % interval',
            numeric: true,
            cell: ({ low, high, pairs }) => (pairs === 0 ? '—' : `${percentOf(low)} to ${percentOf(high)}`),
          },
          {
            head: 'Limit',
            cell: ({ above, pairs }) =>
              above ? <Badge tone="quiet">above</Badge> : pairs === 0 ? 'no users' : 'not exceeded',
          },
        ]}
      />
      {changes.length > 0 && (
        <ul>
          {changes.slice(0, 5).map(({ from, to, count }) => (
            <li>
              {from} → {to}: {countText(count)}
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

const Business = ({ rows }: { rows: readonly BusinessRow[] }): PageElement => (
  <DataTable<BusinessRow>
    caption="What users did after their first request"
    rows={rows}
    empty="No events yet"
    columns={[
      { head: 'Metric', names: true, cell: ({ name }) => name },
      { head: 'Event', cell: ({ event }) => event },
      { head: 'Candidate', numeric: true, cell: ({ means }) => fourDigits(means?.canary ?? null, '—') },
      { head: 'Champion', numeric: true, cell: ({ means }) => fourDigits(means?.control ?? null, '—') },
      { head: 'Gain', numeric: true, cell: ({ gain }) => (gain === null ? '—' : percentOf(gain)) },
      { head: 'Users', numeric: true, cell: ({ users }) => countText(users.canary + users.control) },
      {
        head: 'Loss',
        cell: ({ worseLogE, threshold }) =>
          worseLogE >= threshold ? <Badge tone="bad">proven</Badge> : 'not proven',
      },
    ]}
  />
)

const External = ({ rows }: { rows: readonly ExternalRow[] }): PageElement => (
  <DataTable<ExternalRow>
    caption="What other systems measured"
    rows={rows}
    empty="No windows yet"
    columns={[
      { head: 'Metric', names: true, cell: ({ name }) => name },
      { head: 'Source', cell: ({ source }) => source },
      { head: 'Candidate', numeric: true, cell: ({ means }) => fourDigits(means?.canary ?? null, '—') },
      {
        head: 'Champion or limit',
        numeric: true,
        cell: ({ means, limit }) => fourDigits(limit ?? means?.control ?? null, '—'),
      },
      { head: 'Windows', numeric: true, cell: ({ windows }) => countText(windows) },
      {
        head: 'Loss',
        cell: ({ worseLogE, threshold }) =>
          worseLogE >= threshold ? <Badge tone="bad">proven</Badge> : 'not proven',
      },
      { head: 'Source says', cell: ({ problem }) => problem ?? '—' },
    ]}
  />
)

const shareWithCount = (count: number, total: number): string =>
  `${percentOf(ratioOf(count, total))} (${countText(count)})`

const Shares = ({ answers }: { answers: AnswerCounts }): PageElement => {
  const { names, canary, control, perKey = 1 } = answers
  const [canaryTotal, controlTotal] = [sumOf(canary) / perKey, sumOf(control) / perKey]
  return (
    <>
      <DataTable
        caption="Share of each answer, all stages"
        rows={names.map((name, i) => ({ name, canary: canary[i] ?? 0, control: control[i] ?? 0 }))}
        empty="No answers yet"
        columns={[
          { head: 'Answer', names: true, cell: ({ name }) => name },
          { head: 'Candidate', numeric: true, cell: (row) => shareWithCount(row.canary, canaryTotal) },
          { head: 'Champion', numeric: true, cell: (row) => shareWithCount(row.control, controlTotal) },
        ]}
      />
      <p class="hint">(n): users, counted once in each stage.</p>
    </>
  )
}
