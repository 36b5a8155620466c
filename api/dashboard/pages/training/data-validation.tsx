/** Shows the results of a validation: failed checks as rows, passed ones folded. */
import { countText } from '../../../charts/figures.ts'
import { counted } from '../../../../domain/figures.ts'
import { checkRows, type CheckRow } from '../../../../domain/validation/check-rows.ts'
import type { ExpectationSeverity, ValidationVerdict } from '../../../../domain/validation/expectations.ts'
import type { StoredValidation } from '../../../../store/dashboard/lists.ts'
import type { PageElement } from '../../page.ts'
import { Badge, DataTable, Time, type BadgeTone } from '../../components/elements.tsx'
import { columnText, maxResults, reportOf } from '../../components/validation-report.ts'
import { levelText, plain } from '../../labels.ts'
import { RunbookLink } from '../operations/alert-card.tsx'

export const verdictToneOf: Readonly<Record<ValidationVerdict, BadgeTone>> = {
  pass: 'good',
  warn: 'quiet',
  block: 'bad',
}

const words = {
  pass: 'All checks passed',
  warn: 'Passed with warnings',
  block: 'Failed: no training on this snapshot',
}

/** Shortens a message: `105,000 of 105,000 rows comply: 100 % ≥ 90 %` → `105,000 / 105,000 rows (100 %), at least 90 %`. */
const complianceText = (message: string): string =>
  message.replace(
    /^([\d,]+) of ([\d,]+) rows comply: (\S+ %) [≥<] (\S+ %)/,
    (_, held: string, rows: string, share: string, least: string) =>
      `${held} / ${rows} rows (${share})${least === '100 %' ? '' : `, at least ${least}`}`,
  )

/** The checks that are not met, as rows: what was observed, what is required, and what the champion's rows have. */
export const ChecksTable = ({ checks }: { checks: readonly CheckRow[] }): PageElement => {
  const hidden = checks.length - maxResults
  return (
    <>
      <DataTable
        caption="Failed checks"
        hideCaption
        rows={checks.slice(0, maxResults)}
        empty="None"
        columns={[
          {
            head: 'Column',
            names: true,
            cell: ({ column }) => (column === undefined ? 'all rows' : columnText(column)),
          },
          { head: 'Expectation', cell: ({ check }) => plain(check) },
          {
            head: 'Result',
            cell: ({ severity }) => <Badge tone={severity === 'failed' ? 'bad' : 'quiet'}>{severity}</Badge>,
          },
          {
            head: 'Observed',
            cell: ({ observed, examples = [] }) =>
              examples.length === 0 ? observed : `${observed}, such as ${examples.slice(0, 3).join(', ')}`,
          },
          { head: 'Required', cell: ({ required }) => required },
          { head: 'Champion', cell: ({ champion }) => champion ?? '—' },
        ]}
      />
      {hidden > 0 && <p class="quiet">{countText(hidden)} more</p>}
    </>
  )
}

/** How many checks are not met: `3 of 28 checks failed, 1 warning`. */
export function validationText(validation: StoredValidation): string {
  const { results } = reportOf(validation)
  const failing = (level: ExpectationSeverity) =>
    results.filter(({ passed, severity }) => !passed && severity === level).length
  const [failed, warned] = [failing('block'), failing('warn')]
  const warnings = warned === 0 ? '' : counted(warned, 'warning')
  if (failed > 0)
    return `${failed} of ${counted(results.length, 'check')} failed${warnings === '' ? '' : `, ${warnings}`}`
  return warnings === '' ? `passed ${counted(results.length, 'check')}` : `passed with ${warnings}`
}

export const ValidationSection = ({ validation }: { validation: StoredValidation }): PageElement => {
  const { results, columns } = reportOf(validation)
  // A check of all rows has this subject, unless a column has the same name.
  const hasBatch = columns.some(({ column }) => column === 'batch')
  const checks = checkRows(results)
  const passed = results.filter((each) => each.passed)
  return (
    <section class={`card ${verdictToneOf[validation.verdict]}`} aria-labelledby="validation-heading">
      <h2 id="validation-heading">Validation</h2>
      <p>
        <Badge tone={verdictToneOf[validation.verdict]}>{levelText(validation.verdict)}</Badge>{' '}
        {words[validation.verdict]}{' '}
        <span class="quiet">
          <Time at={validation.createdAt} />
        </span>
        {validation.verdict === 'block' && [' · ', <RunbookLink kind="quarantined" text="Runbook" />]}
      </p>
      {checks.length > 0 && <ChecksTable checks={checks} />}
      <details>
        <summary>{counted(passed.length, 'passed check')}</summary>
        <DataTable
          caption="Passed checks"
          hideCaption
          rows={passed.slice(0, maxResults)}
          empty="None"
          columns={[
            { head: 'Expectation', names: true, cell: ({ check }) => plain(check) },
            {
              head: 'Column',
              cell: ({ subject }) => (subject === 'batch' && !hasBatch ? 'all rows' : columnText(subject)),
            },
            { head: 'Observed', cell: ({ message }) => complianceText(message) },
          ]}
        />
      </details>
    </section>
  )
}
