/** One snapshot: where its rows came from, what its validation expected and found, and what was trained on it. */
import type { ExpectationResult } from '../../../domain/expectations.ts'
import { listValidations, listVersionsOf, type StoredValidation } from '../../../store/data-page.ts'
import { getSnapshot, type Snapshot } from '../../../store/snapshots.ts'
import { bytes } from '../../../charts/figures.ts'
import { expectInScope } from '../../scope.ts'
import { page, type View } from '../declare.ts'
import { Badge, countText, numberText, Table, Time } from '../parts.tsx'
import { plain, shortDigest } from '../words.ts'
import { verdictToneOf } from './data.tsx'

interface SnapshotPage {
  snapshot: Snapshot
  validations: StoredValidation[]
  versions: { version: string; model: string; createdAt: string }[]
}

/** What was written by the validation; a report of an older build may lack parts. */
interface Report {
  results: ExpectationResult[]
  columns: Column[]
}
interface Column {
  column: string
  rows: number
  missing: number
  distinct: number
  min: number | string | null
  max: number | string | null
  mean: number | null
  deviation: number | null
  frequent?: [string, number][]
}

function reportOf({ report }: StoredValidation): Report {
  const list = <T,>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : [])
  return { results: list(report['results']), columns: list(report['columns']) }
}

export const snapshotPage = page<SnapshotPage>({
  async load({ store }, { actor, params }) {
    const snapshot = await getSnapshot(store, params['digest']!)
    expectInScope(actor, snapshot.model)
    const [validations, versions] = await Promise.all([
      listValidations(store, { snapshotDigest: snapshot.digest, limit: 5 }),
      listVersionsOf(store, { snapshotDigest: snapshot.digest, limit: 20 }),
    ])
    return { snapshot, validations, versions }
  },
  title: ({ snapshot }) => `Snapshot ${shortDigest(snapshot.digest)}`,
  view: ({ snapshot, validations, versions }) => {
    const [latest, ...earlier] = validations
    return (
      <>
        <p class="crumbs">
          <a href="/data">Data</a>
        </p>
        <h1>Snapshot {shortDigest(snapshot.digest)}</h1>
        <section class="card">
          <dl class="facts">
            <dt>Model</dt>
            <dd>
              <a href={`/models/${encodeURIComponent(snapshot.model)}`}>{snapshot.model}</a>
            </dd>
            <dt>Digest</dt>
            <dd class="code">{snapshot.digest}</dd>
            <dt>As known at</dt>
            <dd>
              <Time at={snapshot.asOf} /> UTC
            </dd>
            <dt>Rows</dt>
            <dd>
              {countText(snapshot.rows)} in {bytes(snapshot.bytes)} of Parquet
            </dd>
            <dt>Trained on it</dt>
            <dd>
              {versions.length === 0
                ? 'nothing'
                : versions.map(({ version, model }, i) => (
                    <>
                      {i > 0 && ', '}
                      <a
                        href={`/models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}`}
                      >
                        {version}
                      </a>
                    </>
                  ))}
            </dd>
          </dl>
        </section>
        {latest === undefined ? (
          <section class="card">
            <h2>Validation</h2>
            <p class="empty">It has not been validated yet.</p>
          </section>
        ) : (
          <Validation validation={latest} />
        )}
        {latest !== undefined && <Columns columns={reportOf(latest).columns} />}
        <Source snapshot={snapshot} />
        {earlier.length > 0 && (
          <section class="card">
            <Table
              caption="Earlier validations"
              rows={earlier}
              empty=""
              columns={[
                { head: 'At (UTC)', names: true, cell: ({ createdAt }) => <Time at={createdAt} /> },
                {
                  head: 'Verdict',
                  cell: ({ verdict }) => <Badge tone={verdictToneOf[verdict]}>{verdict}</Badge>,
                },
              ]}
            />
          </section>
        )}
      </>
    )
  },
})

const words = {
  pass: 'Everything complies.',
  warn: 'Something that warns does not comply.',
  block: 'The batch is quarantined.',
}

/** What does not comply first, what blocks before what warns. */
const rank = ({ passed, severity }: ExpectationResult): number => (passed ? 2 : severity === 'block' ? 0 : 1)
const mostResults = 300

const Validation = ({ validation }: { validation: StoredValidation }): View => {
  const { results } = reportOf(validation)
  return (
    <section class={`card ${verdictToneOf[validation.verdict]}`}>
      <h2>Validation</h2>
      <p>
        <Badge tone={verdictToneOf[validation.verdict]}>{validation.verdict}</Badge>{' '}
        {words[validation.verdict]}{' '}
        <span class="quiet">
          <Time at={validation.createdAt} /> UTC
        </span>
      </p>
      <Table
        caption="Expectations"
        rows={results.toSorted((one, other) => rank(one) - rank(other)).slice(0, mostResults)}
        empty="It keeps no results."
        columns={[
          { head: 'Expectation', names: true, cell: ({ check }) => plain(check) },
          { head: 'Of', cell: ({ subject }) => subject },
          {
            head: 'Result',
            cell: ({ passed, severity }) => (
              <Badge tone={passed ? 'good' : severity === 'block' ? 'bad' : 'warn'}>
                {passed ? 'complies' : severity === 'block' ? 'blocks' : 'warns'}
              </Badge>
            ),
          },
          { head: 'What was seen', cell: ({ message }) => message },
          {
            head: 'Failing rows',
            numeric: true,
            cell: ({ failing }) => (failing === undefined ? '–' : countText(failing)),
          },
          { head: 'Such as', cell: ({ examples }) => (examples ?? []).slice(0, 3).join(', ') },
        ]}
      />
    </section>
  )
}

const Columns = ({ columns }: { columns: Column[] }): View => (
  <section class="card">
    <Table
      caption="Columns"
      rows={columns.slice(0, mostResults)}
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

const Source = ({ snapshot }: { snapshot: Snapshot }): View => (
  <section class="card">
    <details>
      <summary>Where its rows came from, and the types of its columns</summary>
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
