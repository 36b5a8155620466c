/** The registry, searched by what people remember of a version: how it was called, how good it was, when, from what data. */
import { z } from 'zod'
import {
  parseConditions,
  parseDigest,
  parseOrder,
  versionStatuses,
  type VersionStatus,
} from '../../../domain/search.ts'
import { findVersions, type FoundVersion } from '../../../store/search.ts'
import { cursorText } from '../../cursor.ts'
import { cursorOfKey, keyOfCursor } from '../../version-cursor.ts'
import { expectInOrder, modelName, parsedBy, searchedMoment } from '../../wire.ts'
import { page, type View } from '../declare.ts'
import { addressOf, Onward } from '../onward.tsx'
import { VersionTable } from '../version-table.tsx'

const rowsAPage = 50
const statuses = Object.keys(versionStatuses) as VersionStatus[]

const query = z.strictObject({
  model: modelName.optional(),
  status: z.enum(statuses).optional(),
  metric: parsedBy(parseConditions).optional(),
  since: searchedMoment.optional(),
  until: searchedMoment.optional(),
  data: parsedBy(parseDigest).optional(),
  text: z.string().min(1).max(200).optional(),
  order: parsedBy(parseOrder).optional(),
  cursor: cursorText.optional(),
})
type Query = z.infer<typeof query>

interface Found {
  versions: FoundVersion[]
  next?: string
}

export const versions = page<Found, Query>({
  query,
  async load({ store }, { actor, query }) {
    const { metric, cursor, order = 'newest', since, until, ...rest } = query
    expectInOrder(since, until)
    const found = await findVersions(store, {
      ...(Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as object),
      ...(actor.models === undefined ? {} : { models: [...actor.models] }),
      ...(metric === undefined ? {} : { conditions: metric }),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
      ...(cursor === undefined ? {} : { after: keyOfCursor(cursor, order) }),
      order,
      limit: rowsAPage,
    })
    return {
      versions: found.versions,
      ...(found.next === undefined ? {} : { next: cursorOfKey(found.next, order) }),
    }
  },
  title: () => 'Versions',
  view: ({ versions: found, next }, { target }) => {
    const sent = sentOf(target)
    const { cursor, ...asked } = sent
    return (
      <>
        <p class="crumbs">
          <a href="/models">Models</a>
        </p>
        <h1>Versions</h1>
        <Search sent={sent} />
        <section class="card">
          <VersionTable
            versions={found}
            empty={
              Object.keys(sent).length === 0 ? (
                'No version is registered yet.'
              ) : (
                <>
                  No version is like this. <a href="/versions">Show all</a>
                </>
              )
            }
          />
          <Onward
            first={cursor === undefined ? undefined : addressOf('/versions', asked)}
            next={next === undefined ? undefined : addressOf('/versions', { ...asked, cursor: next })}
          />
        </section>
      </>
    )
  },
})

/** As it was typed, which is what the fields show again. */
const sentOf = (target: string): Record<string, string> =>
  Object.fromEntries([...new URLSearchParams(target.split('?')[1] ?? '')].filter(([, value]) => value !== ''))

const orders = [
  ['newest', 'newest first'],
  ['oldest', 'oldest first'],
  ['version', 'by number'],
  ['auc', 'best AUC first'],
  ['accuracy', 'best accuracy first'],
  ['brier', 'best Brier first'],
  ['rmse', 'best RMSE first'],
] as const

const Search = ({ sent }: { sent: Record<string, string> }): View => (
  <form class="filter" method="get" action="/versions" role="search" aria-label="Versions">
    <Field name="text" label="Name, who or why" sent={sent} hint="ada" />
    <Field name="model" label="Model" sent={sent} hint="iris" />
    <Field name="metric" label="Metric" sent={sent} hint="auc>0.7,brier<0.2" />
    <Field name="since" label="Since" sent={sent} hint="2026-03-01" />
    <Field name="until" label="Until" sent={sent} hint="2026-04-01" />
    <Field name="data" label="Data digest" sent={sent} hint="sha256:3f1a…" />
    <div>
      <label for="status">Status</label>
      <select id="status" name="status">
        <option value="">Any</option>
        {statuses.map((status) => (
          <option value={status} selected={sent['status'] === status} title={versionStatuses[status]}>
            {status}
          </option>
        ))}
      </select>
    </div>
    <div>
      <label for="order">Order</label>
      <select id="order" name="order">
        {orders.map(([order, words]) => (
          <option value={order} selected={(sent['order'] ?? 'newest') === order}>
            {words}
          </option>
        ))}
      </select>
    </div>
    <button class="second">Search</button>
  </form>
)

const Field = ({
  name,
  label,
  hint,
  sent,
}: {
  name: string
  label: string
  hint: string
  sent: Record<string, string>
}): View => (
  <div>
    <label for={name}>{label}</label>
    <input
      id={name}
      name={name}
      value={sent[name] ?? ''}
      placeholder={hint}
      maxlength={200}
      autocomplete="off"
    />
  </div>
)
