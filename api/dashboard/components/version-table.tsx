/** Renders a table of versions, with a form that compares two of them. */
import type { FoundVersion } from '../../../store/registry/versions.ts'
import type { VersionStatus } from '../../../domain/registry/version-query.ts'
import { type TableColumn, type BadgeTone, Badge, DataTable, Time } from './elements.tsx'
import type { PageElement } from '../page.ts'
import { inMetricOrder, metricName, metricText } from '../../../domain/figures.ts'
import { plain, shortDigest } from '../labels.ts'
import { snapshotHref, versionHref } from './links.tsx'

export const statusTones: Readonly<Record<VersionStatus, BadgeTone>> = {
  champion: 'good',
  known_good: 'good',
  releasing: 'quiet',
  rolled_back: 'bad',
  drill: 'quiet',
  registered: 'quiet',
}

/** Chooses three metrics: the primary one, then those that most of the listed versions have. */
function metricsOf(versions: readonly FoundVersion[], primary: string | undefined): string[] {
  const counts = new Map<string, number>()
  for (const { lineage } of versions)
    for (const [name, value] of Object.entries(lineage.metrics ?? {}))
      if (value !== null) counts.set(name, (counts.get(name) ?? 0) + 1)
  const names = inMetricOrder([...counts.keys()]).sort((one, other) => counts.get(other)! - counts.get(one)!)
  return [...new Set(primary === undefined ? names : [primary, ...names])].slice(0, 3)
}

interface VersionList {
  versions: readonly FoundVersion[]
  /** The primary metric of the model, shown first. */
  primary?: string
  empty: PageElement | string
}

export function VersionTable({ versions, primary, empty }: VersionList): PageElement {
  const metrics = metricsOf(versions, primary)
  const choice = (name: 'one' | 'other', place: number): TableColumn<FoundVersion> => ({
    head: name === 'one' ? 'A' : 'B',
    cell: ({ version }) => (
      <input
        type="radio"
        name={name}
        value={version}
        checked={version === versions[place]?.version}
        aria-label={`${name === 'one' ? 'A' : 'B'} of the comparison: ${version}`}
      />
    ),
  })
  const comparable = versions.length > 1
  const table = (
    <DataTable
      caption="Versions"
      hideCaption
      rows={versions}
      empty={empty}
      columns={[
        ...(comparable ? [choice('one', 1), choice('other', 0)] : []),
        {
          head: 'Version',
          names: true,
          cell: (each) => (
            <a class="name" href={versionHref(each)}>
              {each.version}
            </a>
          ),
        },
        {
          head: 'Status',
          cell: ({ status, notReleased }) => (
            <>
              <Badge tone={statusTones[status]}>{plain(status)}</Badge>
              {notReleased !== undefined && <div>Not released: {notReleased}</div>}
            </>
          ),
        },
        ...metrics.map((metric) => ({
          head: metricName(metric),
          numeric: true,
          cell: ({ lineage }: FoundVersion) => metricText(lineage.metrics?.[metric]),
        })),
        { head: 'Registered', cell: ({ createdAt }) => <Time at={createdAt} /> },
        { head: 'Trigger', cell: ({ lineage }) => plain(lineage.reason ?? '—') },
        {
          head: 'Data as of',
          cell: ({ model, lineage }) =>
            lineage.snapshot === undefined ? (
              '—'
            ) : (
              <a href={snapshotHref({ digest: lineage.snapshot, model })} title={lineage.snapshot}>
                {lineage.asOf === undefined ? shortDigest(lineage.snapshot) : <Time at={lineage.asOf} />}
              </a>
            ),
        },
      ]}
    />
  )
  if (!comparable) return table
  return (
    <form method="get" action="/compare" aria-label="Compare two versions">
      {table}
      <div class="actions">
        <button class="second">Compare A with B</button>
      </div>
    </form>
  )
}
