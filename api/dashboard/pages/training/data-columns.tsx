/** A summary of each column of a snapshot: what a data scientist looks at first when a batch was blocked. */
import type { View } from '../../page.ts'
import { countText, numberText, Table } from '../../components/elements.tsx'
import type { ColumnSummary } from '../../../../domain/validation/expectations.ts'
import { maxResults } from '../../components/validation-report.ts'

export const Columns = ({ columns }: { columns: ColumnSummary[] }): View => (
  <section class="card">
    <Table
      caption="Columns"
      rows={columns.slice(0, maxResults)}
      empty="It keeps no summary of its columns."
      columns={[
        { head: 'Column', names: true, cell: ({ column }) => column },
        { head: 'Missing', numeric: true, cell: ({ missing }) => countText(missing) },
        { head: 'Distinct', numeric: true, cell: ({ distinct }) => countText(distinct) },
        { head: 'Least', numeric: true, cell: ({ min }) => shown(min) },
        { head: 'Mean', numeric: true, cell: ({ mean }) => numberText(mean) },
        { head: 'Most', numeric: true, cell: ({ max }) => shown(max) },
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
