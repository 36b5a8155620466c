/** Compares two versions, with the differences first. */
import { z } from 'zod'
import { compareNamed } from '../../../services/version-diff.ts'
import { definePage, type PageElement } from '../../page.ts'
import { TextField, Badge, DataTable } from '../../components/elements.tsx'
import { Crumbs, modelHref, versionHref } from '../../components/links.tsx'
import { countText } from '../../../charts/figures.ts'
import type { ComparedField, Section, VersionComparison } from '../../../../domain/registry/version-diff.ts'
import { capitalized, gainText, metricName, metricText, numberText } from '../../../../domain/figures.ts'
import { plain, shortDigest } from '../../labels.ts'

const name = z.string().min(1).max(200)

export const comparePage = definePage({
  query: z.strictObject({ one: name.optional(), other: name.optional() }),
  load: async ({ store }, { query: { one, other } }) =>
    one === undefined || other === undefined ? undefined : compareNamed(store, { one, other }),
  title: (compared) =>
    compared === undefined
      ? 'Compare two versions'
      : `${compared.comparison.one} and ${compared.comparison.other}`,
  view(compared, { query: { one, other } }) {
    const [model, second] = compared?.models ?? []
    return (
      <>
        <Crumbs
          to={[['/models', 'Models'], model !== undefined && model === second && [modelHref(model), model]]}
        />
        <h1>Compare two versions</h1>
        <form class="filter" method="get" action="/compare" role="search" aria-label="Two versions">
          <TextField name="one" label="A" value={one} hint="iris@champion" required />
          <TextField name="other" label="B" value={other} hint="iris_v1.2.0" required />
          <button class="second">Compare</button>
        </form>
        {compared !== undefined && <ComparedFields {...compared.comparison} models={compared.models} />}
      </>
    )
  },
})

// Lists the fields in which two versions differ, and the identical ones.

const titles: Readonly<Record<Section, string>> = {
  metrics: 'Metrics',
  hyperparameters: 'Hyperparameters',
  data: 'Data',
  features: 'Features',
  code: 'Code',
  training: 'Training',
  size: 'Size',
  origin: 'Origin',
}

const ComparedFields = ({
  one,
  other,
  differences,
  same,
  notes,
  models,
}: VersionComparison & { models: [string, string] }): PageElement => (
  <>
    {notes.map((note) => (
      <p class="notice warn">{`${capitalized(note)}.`}</p>
    ))}
    <section class="card">
      <h2>Differences</h2>
      <Fields
        caption="Differences"
        fields={differences}
        names={[linkOf(models[0], one), linkOf(models[1], other)]}
        empty="No differences"
      />
    </section>
    <section class="card">
      <details>
        <summary>
          {same.length} identical {same.length === 1 ? 'field' : 'fields'}
        </summary>
        <Fields caption="Identical fields" fields={same} names={[one, other]} empty="No identical fields" />
      </details>
    </section>
  </>
)

/** The names of fields of the record in words. Names of features and hyperparameters stay unchanged. */
const fieldNames: Readonly<Record<string, string>> = {
  as_of: 'data as of',
  train_rows: 'training rows',
  test_rows: 'test rows',
  duration_ms: 'duration (ms)',
  network_bytes: 'network (bytes)',
  weights_bytes: 'weights (bytes)',
  created_at: 'registered',
  created_by: 'requested by',
  compared_with: 'compared with',
}

const fieldName = (section: Section, field: string): string =>
  section === 'metrics'
    ? metricName(field)
    : section === 'hyperparameters' || section === 'features'
      ? field
      : (fieldNames[field] ?? plain(field))

const linkOf = (model: string, version: string): PageElement => (
  <a href={versionHref({ model, version })}>{version}</a>
)

interface FieldTable {
  caption: string
  fields: readonly ComparedField[]
  names: [PageElement | string, PageElement | string]
  empty: string
}

const Fields = ({ caption, fields, names, empty }: FieldTable): PageElement => (
  <>
    <p class="small">
      A: {names[0]} · B: {names[1]}
    </p>
    <DataTable
      caption={caption}
      hideCaption
      rows={fields.map((field, i) => ({ ...field, first: fields[i - 1]?.section !== field.section }))}
      empty={empty}
      columns={[
        {
          head: 'Group',
          cell: ({ section, first }) => (first ? <span class="quiet">{titles[section]}</span> : ''),
        },
        { head: 'Field', names: true, cell: ({ section, field }) => fieldName(section, field) },
        {
          head: 'A',
          numeric: true,
          cell: ({ section, one, better }) => <Value section={section} value={one} best={better === 'one'} />,
        },
        {
          head: 'B',
          numeric: true,
          cell: ({ section, other, better }) => (
            <Value section={section} value={other} best={better === 'other'} />
          ),
        },
        {
          head: 'B − A',
          numeric: true,
          cell: ({ difference, section }) =>
            difference === undefined ? '' : differenceText(section, difference),
        },
      ]}
    />
  </>
)

const differenceText = (section: Section, difference: number): string =>
  isMeasure(section, difference) ? gainText(difference) : numberText(difference, true)

/** Whether a number is a metric or a loss, which have four decimals. */
const isMeasure = (section: Section, value: number): boolean =>
  section === 'metrics' || (section === 'training' && !Number.isInteger(value))

function valueText(section: Section, value: number): string {
  if (isMeasure(section, value)) return metricText(value)
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? countText(value) : numberText(value)
}

interface ValueProps {
  section: Section
  value: ComparedField['one']
  best: boolean
}

const Value = ({ section, value, best }: ValueProps): PageElement => {
  if (value === null) return <span class="quiet">—</span>
  if (typeof value === 'number')
    return (
      <>
        {best && [<Badge tone="good">better</Badge>, ' ']}
        {valueText(section, value)}
      </>
    )
  const text = String(value)
  if (/^sha256:[0-9a-f]{64}$/.test(text))
    return (
      <code class="code" title={text}>
        {shortDigest(text)}
      </code>
    )
  return <span class="wrap">{text.length > 300 ? `${text.slice(0, 300)}…` : text}</span>
}
