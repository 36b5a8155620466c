/** Shows what the validation of a retraining has found: each failed check and each warning as a row, with the next step. */
import { countText } from '../../../../charts/figures.ts'
import { capitalized, counted } from '../../../../domain/figures.ts'
import { failedText } from '../../../../domain/validation/check-rows.ts'
import type { ShownValidation } from '../../../services/training/shown-validation.ts'
import { Badge, DataTable, withCode } from '../../components/elements.tsx'
import { snapshotHref } from '../../components/links.tsx'
import { columnText, maxResults } from '../../components/validation-report.ts'
import { plain } from '../../labels.ts'
import type { PageElement } from '../../page.ts'

/** Shows nothing for rows that passed all checks. */
export function FailedChecks({
  model,
  validation,
}: {
  model: string
  validation: ShownValidation | undefined
}): PageElement | null {
  if (validation === undefined || validation.checks.length === 0) return null
  const { snapshotDigest: digest, verdict, checks, runbook, next } = validation
  const hidden = checks.length - maxResults
  return (
    <section class={`card ${verdict === 'block' ? 'bad' : 'warn'}`} aria-labelledby="checks-heading">
      <h2 id="checks-heading">Data checks</h2>
      <p>
        {verdict === 'block' ? capitalized(failedText(validation)) : counted(checks.length, 'warning')} ·
        snapshot{' '}
        <a href={snapshotHref({ digest, model })}>
          <code>{digest.replace(/^sha256:/, '').slice(0, 12)}</code>
        </a>
        {runbook !== undefined && [' · ', <a href={runbook}>Runbook</a>]}
      </p>
      {next !== undefined && <p>{withCode(next)}</p>}
      <DataTable
        caption="Failed checks"
        hideCaption
        rows={checks.slice(0, maxResults)}
        empty=""
        columns={[
          {
            head: 'Column',
            names: true,
            cell: ({ column }) => (column === undefined ? 'all rows' : columnText(column)),
          },
          { head: 'Expectation', cell: ({ check }) => plain(check) },
          {
            head: 'Result',
            cell: ({ severity }) => <Badge tone={severity === 'failed' ? 'bad' : 'warn'}>{severity}</Badge>,
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
      {hidden > 0 && <p class="quiet">{countText(hidden)} more on the page of the snapshot</p>}
    </section>
  )
}
