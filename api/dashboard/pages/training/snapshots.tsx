/** Lists the training snapshots with their validation. */
import { listModelNames } from '../../../../store/registry/models.ts'
import { z } from 'zod'
import { DomainError } from '../../../../domain/errors.ts'
import { listSnapshotLines, type SnapshotLine } from '../../../../store/dashboard/lists.ts'
import { modelName } from '../../../http/schemas.ts'
import { definePage } from '../../page.ts'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { Badge, DataTable, Time, type TableColumn } from '../../components/elements.tsx'
import { ModelLink, snapshotHref, versionHref } from '../../components/links.tsx'
import { levelText, shortDigest } from '../../labels.ts'
import { bytesText, countText } from '../../../charts/figures.ts'
import { verdictToneOf } from './data-validation.tsx'

const rowsAPage = 50

export const snapshotsPage = definePage({
  query: z.strictObject({ model: modelName.optional(), after: z.string().max(300).optional() }),
  async load({ store }, { query: { model, after } }) {
    const models = await listModelNames(store)
    const lines = await listSnapshotLines(store, {
      model,
      after: after === undefined ? undefined : parseCursor(after),
      limit: rowsAPage + 1,
    })
    const digests = [...new Set(lines.map(({ digest }) => digest))]
    const next = digests[rowsAPage]
    return { models, lines: lines.filter(({ digest }) => digest !== next), more: next !== undefined }
  },
  title: () => 'Data',
  view: ({ models, lines, more }, { query: { model, after } }) => (
    <>
      <h1>Data</h1>
      <p>Training data as known at a time. Each version names the snapshot that it was trained on.</p>
      <ModelFilterForm path="/data" label="Snapshots" models={models} chosen={model} />
      <section class="card">
        <DataTable
          caption="Snapshots"
          hideCaption
          rows={lines}
          empty={
            <EmptyList rows="snapshots" path="/data" query={{ model, after }}>
              No snapshots yet. Create one: <code>tenure retrain &lt;model&gt;</code>
            </EmptyList>
          }
          columns={columns}
        />
        <CursorPager
          first={after === undefined ? undefined : listHref('/data', { model })}
          next={more ? listHref('/data', { model, after: cursorOf(lines.at(-1)!) }) : undefined}
        />
      </section>
    </>
  ),
})

const cursorOf = ({ key, digest }: SnapshotLine): string => `${key}~${digest}`

const columns: TableColumn<SnapshotLine>[] = [
  {
    head: 'Snapshot',
    names: true,
    cell: (line) => (
      <a class="code" href={snapshotHref(line)} title={line.digest}>
        {shortDigest(line.digest)}
      </a>
    ),
  },
  { head: 'Model', cell: ({ model }) => <ModelLink model={model} /> },
  { head: 'Data as of', cell: ({ asOf }) => <Time at={asOf} /> },
  { head: 'Rows', numeric: true, cell: ({ rows }) => countText(rows) },
  { head: 'Size', numeric: true, cell: (line) => bytesText(line.bytes) },
  {
    head: 'Validation',
    cell: ({ verdict }) =>
      verdict === undefined ? (
        <span class="quiet">—</span>
      ) : (
        <Badge tone={verdictToneOf[verdict]}>{levelText(verdict)}</Badge>
      ),
  },
  {
    head: 'Used by',
    cell: ({ versions, model }) =>
      versions.length === 0 ? (
        <span class="quiet">—</span>
      ) : (
        <span>
          {versions.map((version, i) => [
            i > 0 && ', ',
            <a href={versionHref({ model, version })}>{version.replace(/^.*_v/, 'v')}</a>,
          ])}
        </span>
      ),
  },
  { head: 'Created', cell: ({ createdAt }) => <Time at={createdAt} /> },
]

/** Parses the cursor of the list. Throws `invalid_request` for any other text, so that none reaches a statement. */
function parseCursor(cursor: string): { at: string; digest: string } {
  const [at = '', digest = '', ...rest] = cursor.split('~')
  const isTime = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?$/.test(at)
  if (
    !isTime ||
    Number.isNaN(Date.parse(`${at.slice(0, 19).replace(' ', 'T')}Z`)) ||
    digest === '' ||
    rest.length > 0
  )
    throw new DomainError('invalid_request', 'after: not a cursor of this list')
  return { at, digest }
}
