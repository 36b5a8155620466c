/** Summarises each column of a snapshot. */
import { numberText } from '../../../../domain/figures.ts'
import { countText } from '../../../../charts/figures.ts'
import type { PageElement } from '../../page.ts'
import { DataTable } from '../../components/elements.tsx'
import type { ColumnSummary } from '../../../../domain/validation/expectations.ts'
import { columnText, maxResults } from '../../components/validation-report.ts'

export const ColumnSummaries = ({ columns }: { columns: ColumnSummary[] }): PageElement => (
  <section class="card">
    <DataTable
      caption="Columns"
      rows={columns.slice(0, maxResults)}
      empty="No column summary"
      columns={[
        { head: 'Column', names: true, cell: ({ column }) => columnText(column) },
        { head: 'Missing', numeric: true, cell: ({ missing }) => countText(missing) },
        { head: 'Distinct', numeric: true, cell: ({ distinct }) => countText(distinct) },
        { head: 'Min', numeric: true, cell: ({ min }) => shown(min) },
        { head: 'Mean', numeric: true, cell: ({ mean }) => numberText(mean) },
        { head: 'Max', numeric: true, cell: ({ max }) => shown(max) },
        { head: 'Deviation', numeric: true, cell: ({ deviation }) => numberText(deviation) },
        {
          head: 'Most frequent',
          cell: ({ frequent }) =>
            (frequent ?? [])
              .slice(0, 3)
              .map(([value, count]) => `${value} (${countText(count)})`)
              .join(', '),
        },
      ]}
    />
  </section>
)

const shown = (value: number | string | null): string =>
  typeof value === 'string' ? value.slice(0, 60) : numberText(value)
