/** Shows the newest requests that a version failed, with their inputs. */
import type { VersionFailure } from '../../../store/review/failed-requests.ts'
import type { PageElement } from '../page.ts'
import { DataTable, Time } from './elements.tsx'

/** How many failed requests a page shows. */
export const shownFailedRequests = 10

const maxInputLength = 300

const inputsText = ({ inputs, instances }: VersionFailure): string => {
  if (inputs.length === 0) return 'not kept'
  const text = JSON.stringify(inputs[0])
  const cut = text.length > maxInputLength ? `${text.slice(0, maxInputLength - 1)}…` : text
  return instances > 1 ? `${cut} and ${instances - 1} more` : cut
}

export const FailedRequestsTable = ({ rows }: { rows: readonly VersionFailure[] }): PageElement =>
  rows.length === 0 ? (
    <></>
  ) : (
    <DataTable
      caption={rows.length === shownFailedRequests ? 'The newest failed requests' : 'Failed requests'}
      rows={rows}
      empty=""
      columns={[
        { head: 'Time', names: true, cell: ({ at }) => <Time at={at} shows="second" /> },
        { head: 'Arm, replica', cell: ({ arm, replica }) => `${arm}, ${replica}` },
        { head: 'Failure', cell: ({ code, message }) => `${code}: ${message}` },
        { head: 'Routing key', cell: ({ routingKey }) => routingKey ?? '–' },
        { head: 'Inputs', cell: (row) => <code>{inputsText(row)}</code> },
      ]}
    />
  )
