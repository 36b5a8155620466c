/** Renders the search form of the versions page. */
import { versionStatuses } from '../../../../domain/registry/version-query.ts'
import type { PageElement } from '../../page.ts'
import { TextField } from '../../components/elements.tsx'
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
    <TextField name="text" label="Name, actor or reason" value={sent['text']} hint="ada" />
    <TextField name="model" label="Model" value={sent['model']} hint="iris" />
    <TextField name="metric" label="Metric" value={sent['metric']} hint="auc>0.7,brier<0.2" />
    <TextField name="since" label="Since" value={sent['since']} hint="2026-03-01" />
    <TextField name="until" label="Until" value={sent['until']} hint="2026-04-01" />
    <TextField name="data" label="Data digest" value={sent['data']} hint="sha256:3f1a…" />
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
