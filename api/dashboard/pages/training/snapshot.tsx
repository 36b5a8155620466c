/** Shows a snapshot as one model used it: its validation, its columns, its source, and the versions trained on it. */
import { requireFound } from '../../../../domain/errors.ts'
import { z } from 'zod'
import { listSnapshotModels, listValidations, listVersionsOf } from '../../../../store/dashboard/lists.ts'
import { getSnapshot, type Snapshot } from '../../../../store/training/snapshots.ts'
import { bytesText, countText, truncated } from '../../../charts/figures.ts'
import { modelName } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { Badge, DataTable, Facts, Time } from '../../components/elements.tsx'
import { Crumbs, ModelLink, snapshotHref, versionHref } from '../../components/links.tsx'
import { reportOf, columnText, maxResults } from '../../components/validation-report.ts'
import { levelText, shortDigest } from '../../labels.ts'
import { ValidationSection, validationText, verdictToneOf } from './data-validation.tsx'
import { numberText } from '../../../../domain/figures.ts'
import type { ColumnSummary } from '../../../../domain/validation/expectations.ts'

export const snapshotPage = definePage({
  query: z.strictObject({ model: modelName.optional() }),
  async load({ store }, { params, query: { model: chosen } }) {
    const id = params['digest']!
    const models = await listSnapshotModels(store, id)
    const model = chosen === undefined ? models[0] : models.find((name) => name === chosen)
    const snapshot = {
      ...(await getSnapshot(store, id)),
      model: requireFound(model, { what: 'snapshot', id }),
    }
    const use = { snapshotDigest: snapshot.digest, model: snapshot.model }
    const [validations, versions] = await Promise.all([
      listValidations(store, { ...use, limit: 5 }),
      listVersionsOf(store, { ...use, limit: 20 }),
    ])
    return { snapshot, validations, versions, others: models.filter((name) => name !== model) }
  },
  title: ({ snapshot }) => `Snapshot ${shortDigest(snapshot.digest)}`,
  view: ({ snapshot, validations, versions, others }) => {
    const [latest, ...earlier] = validations
    return (
      <>
        <Crumbs to={[['/data', 'Data']]} />
        <header class={`sentence ${latest === undefined ? 'quiet' : verdictToneOf[latest.verdict]}`}>
          <h1>
            {shortDigest(snapshot.digest)} of {snapshot.model}:{' '}
            {latest === undefined ? 'not validated yet' : validationText(latest)}
          </h1>
        </header>
        {latest !== undefined && <ValidationSection validation={latest} />}
        <section class="card">
          <Facts
            facts={[
              ['Model', <ModelLink model={snapshot.model} />],
              ['Digest', snapshot.digest, 'code'],
              ['Data as of', <Time at={snapshot.asOf} />],
              ['Rows', `${countText(snapshot.rows)} in ${bytesText(snapshot.bytes)} of Parquet`],
              [
                'Used by',
                versions.length === 0
                  ? '—'
                  : versions.map((version, i) => [
                      i > 0 && ', ',
                      <a href={versionHref({ model: snapshot.model, version })}>{version}</a>,
                    ]),
              ],
              others.length === 0
                ? undefined
                : [
                    'Also used by',
                    others.map((model, i) => [
                      i > 0 && ', ',
                      <a href={snapshotHref({ digest: snapshot.digest, model })}>{model}</a>,
                    ]),
                  ],
            ]}
          />
        </section>
        {latest !== undefined && <ColumnSummaries columns={reportOf(latest).columns} />}
        <Source snapshot={snapshot} />
        {earlier.length > 0 && (
          <section class="card">
            <DataTable
              caption="Earlier validations"
              rows={earlier}
              empty=""
              columns={[
                {
                  head: 'Time',
                  names: true,
                  cell: ({ createdAt }) => <Time at={createdAt} shows="second" />,
                },
                {
                  head: 'Verdict',
                  cell: ({ verdict }) => <Badge tone={verdictToneOf[verdict]}>{levelText(verdict)}</Badge>,
                },
              ]}
            />
          </section>
        )}
      </>
    )
  },
})

const Source = ({ snapshot }: { snapshot: Snapshot }): PageElement => (
  <section class="card">
    <details>
      <summary>Source and column types</summary>
      <h3>Source</h3>
      <pre tabindex={0}>{JSON.stringify(snapshot.source, null, 2).slice(0, 20_000)}</pre>
      <h3>Columns</h3>
      <pre tabindex={0}>
        {Object.entries(snapshot.columns)
          .slice(0, 500)
          .map(([name, type]) => `${name}: ${String(type)}`)
          .join('\n')}
      </pre>
    </details>
  </section>
)

// Summarises each column of a snapshot.

const ColumnSummaries = ({ columns }: { columns: ColumnSummary[] }): PageElement => (
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
  typeof value === 'string' ? truncated(value, 60) : numberText(value)
