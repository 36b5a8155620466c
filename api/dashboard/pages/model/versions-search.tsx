/** Renders the search form of the versions page. */
import { versionStatuses } from '../../../../domain/registry/version-query.ts'
import type { PageElement } from '../../page.ts'
import { versionStatusNames } from '../../../http/version-search.ts'

const orders = [
  ['newest', 'newest first'],
  ['oldest', 'oldest first'],
  ['version', 'by number'],
  ['auc', 'best AUC first'],
  ['accuracy', 'best accuracy first'],
  ['brier', 'best Brier first'],
  ['rmse', 'best RMSE first'],
] as const

export const Search = ({ sent }: { sent: Record<string, string> }): PageElement => (
  <form class="filter" method="get" action="/versions" role="search" aria-label="Versions">
    <Field name="text" label="Name, actor or reason" sent={sent} hint="ada" />
    <Field name="model" label="Model" sent={sent} hint="iris" />
    <Field name="metric" label="Metric" sent={sent} hint="auc>0.7,brier<0.2" />
    <Field name="since" label="Since" sent={sent} hint="2026-03-01" />
    <Field name="until" label="Until" sent={sent} hint="2026-04-01" />
    <Field name="data" label="Data digest" sent={sent} hint="sha256:3f1a…" />
    <div>
      <label for="status">Status</label>
      <select id="status" name="status">
        <option value="">Any</option>
        {versionStatusNames.map((status) => (
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
}): PageElement => (
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
