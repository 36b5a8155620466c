/** What differs between two versions and what is the same, field by field. */
import type { ComparedField, Section, VersionComparison } from '../../../../domain/registry/version-diff.ts'
import type { View } from '../../page.ts'
import { Badge, numberText, Table } from '../../components/elements.tsx'
import { shortDigest } from '../../labels.ts'

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

export const Comparison = ({
  one,
  other,
  differences,
  same,
  notes,
  models,
}: VersionComparison & { models: [string, string] }): View => (
  <>
    {notes.map((note) => (
      <p class="notice warn">{`${note.charAt(0).toUpperCase()}${note.slice(1)}.`}</p>
    ))}
    <section class="card">
      <h2>What differs</h2>
      <Fields
        caption="What differs"
        fields={differences}
        names={[linkOf(models[0], one), linkOf(models[1], other)]}
        empty="Nothing of what is kept of them differs."
      />
    </section>
    <section class="card">
      <details>
        <summary>What is the same ({same.length})</summary>
        <Fields caption="What is the same" fields={same} names={[one, other]} empty="Nothing is the same." />
      </details>
    </section>
  </>
)

const linkOf = (model: string, version: string): View => (
  <a href={`/models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}`}>{version}</a>
)

const Fields = ({
  caption,
  fields,
  names,
  empty,
}: {
  caption: string
  fields: readonly ComparedField[]
  names: [View | string, View | string]
  empty: string
}): View => (
  <>
    <p class="small">
      A is {names[0]}, B is {names[1]}.
    </p>
    <Table
      caption={caption}
      hideCaption
      rows={fields.map((field, i) => ({ ...field, first: fields[i - 1]?.section !== field.section }))}
      empty={empty}
      columns={[
        {
          head: 'Of',
          cell: ({ section, first }) => (first ? <span class="quiet">{titles[section]}</span> : ''),
        },
        { head: 'What', names: true, cell: ({ field }) => field },
        {
          head: 'A',
          numeric: true,
          cell: ({ one, better }) => <Value value={one} best={better === 'one'} />,
        },
        {
          head: 'B',
          numeric: true,
          cell: ({ other, better }) => <Value value={other} best={better === 'other'} />,
        },
        {
          head: 'B − A',
          numeric: true,
          cell: ({ difference }) => (difference === undefined ? '' : numberText(difference, true)),
        },
      ]}
    />
  </>
)

const Value = ({ value, best }: { value: ComparedField['one']; best: boolean }): View => {
  if (value === null) return <span class="quiet">none</span>
  if (typeof value === 'number')
    return (
      <>
        {best && (
          <>
            <Badge tone="good">better</Badge>{' '}
          </>
        )}
        {Number.isInteger(value) && Math.abs(value) < 1e15
          ? value.toLocaleString('en').replaceAll(',', '\u202f')
          : numberText(value)}
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
