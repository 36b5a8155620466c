/** Shows the results of a validation, failed expectations first. */
import { countText } from '../../../charts/figures.ts'
import type { ExpectationResult, ValidationVerdict } from '../../../../domain/validation/expectations.ts'
import type { StoredValidation } from '../../../../store/dashboard/lists.ts'
import type { PageElement } from '../../page.ts'
import { Badge, DataTable, Time, type Tone } from '../../components/elements.tsx'
import { columnText, maxResults, reportOf } from '../../components/validation-report.ts'
import { levelText, plain } from '../../labels.ts'

export const verdictToneOf: Readonly<Record<ValidationVerdict, Tone>> = {
  pass: 'good',
  warn: 'warn',
  block: 'bad',
}

const words = {
  pass: 'All checks passed',
  warn: 'Passed with warnings',
  block: 'Failed: the snapshot is quarantined',
}

/** Orders expectations: failed first, and blocking before warning. */
const rank = ({ passed, severity }: ExpectationResult): number => (passed ? 2 : severity === 'block' ? 0 : 1)

/** Shortens a message: `105,000 of 105,000 rows comply: 100 % ≥ 90 %` → `105,000 / 105,000 rows (100 %), at least 90 %`. */
const complianceText = (message: string): string =>
  message.replace(
    /^([\d,]+) of ([\d,]+) rows comply: (\S+ %) [≥<] (\S+ %)/,
    (_, held: string, rows: string, share: string, least: string) =>
      `${held} / ${rows} rows (${share})${least === '100 %' ? '' : `, at least ${least}`}`,
  )

export const ValidationSection = ({ validation }: { validation: StoredValidation }): PageElement => {
  const { results, columns } = reportOf(validation)
  // A check of all rows has this subject, unless a column has the same name.
  const hasBatch = columns.some(({ column }) => column === 'batch')
  return (
    <section class={`card ${verdictToneOf[validation.verdict]}`}>
      <h2>Validation</h2>
      <p>
        <Badge tone={verdictToneOf[validation.verdict]}>{levelText(validation.verdict)}</Badge>{' '}
        {words[validation.verdict]}{' '}
        <span class="quiet">
          <Time at={validation.createdAt} />
        </span>
      </p>
      <DataTable
        caption="Expectations"
        rows={results.toSorted((one, other) => rank(one) - rank(other)).slice(0, maxResults)}
        empty="No results"
        columns={[
          { head: 'Expectation', names: true, cell: ({ check }) => plain(check) },
          {
            head: 'Column',
            cell: ({ subject }) => (subject === 'batch' && !hasBatch ? 'all rows' : columnText(subject)),
          },
          {
            head: 'Result',
            cell: ({ passed, severity }) => (
              <Badge tone={passed ? 'good' : severity === 'block' ? 'bad' : 'warn'}>
                {passed ? 'passed' : severity === 'block' ? 'failed' : 'warning'}
              </Badge>
            ),
          },
          { head: 'Observed', cell: ({ message }) => complianceText(message) },
          {
            head: 'Failing rows',
            numeric: true,
            cell: ({ failing }) => (failing === undefined ? '—' : countText(failing)),
          },
          {
            head: 'Examples',
            cell: ({ examples }) => <span class="brief">{(examples ?? []).slice(0, 3).join(', ')}</span>,
          },
        ]}
      />
    </section>
  )
}
