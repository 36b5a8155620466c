/** Lists releases page by page, filtered by model and outcome. */
import { listModelNames } from '../../../../store/registry/models.ts'
import { z } from 'zod'
import { releaseOutcomes, type ReleaseOutcomeKind } from '../../../../domain/release/state.ts'
import { findWithdrawals, type Withdrawal } from '../../../../store/registry/champions.ts'
import { listReleaseLines, type ReleaseListItem } from '../../../../store/dashboard/release-detail.ts'
import { modelName, pageNumber } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { ModelSelect } from '../../components/model-filter.tsx'
import { EmptyList, listHref } from '../../components/pager.tsx'
import { Badge, Pager, DataTable, Time } from '../../components/elements.tsx'
import { outcomeTones, plain, shortReason } from '../../labels.ts'
import { readStages, StageBadge, type StageNow } from '../../stage-badge.tsx'

const rowsAPage = 25
const outcomes = ['open', ...(Object.keys(releaseOutcomes) as ReleaseOutcomeKind[])] as const

const filter = z.strictObject({
  model: modelName.optional(),
  outcome: z.enum(outcomes).optional(),
  page: pageNumber,
})

export const releasesPage = definePage({
  query: filter,
  async load({ store }, { query }) {
    const models = await listModelNames(store)
    const lines = await listReleaseLines(store, {
      model: query.model,
      outcome: query.outcome,
      limit: rowsAPage + 1,
      offset: (query.page - 1) * rowsAPage,
    })
    const [withdrawals, stages] = await Promise.all([
      findWithdrawals(
        store,
        lines.map(({ version }) => version),
      ),
      readStages(
        store,
        lines.flatMap(({ open }) => open ?? []),
      ),
    ])
    return {
      models,
      lines: lines.slice(0, rowsAPage).map((line) => ({
        ...line,
        now: stages.get(line.id),
        withdrawal: line.outcome === 'promoted' ? withdrawals.get(line.version) : undefined,
      })),
      more: lines.length > rowsAPage,
    }
  },
  title: () => 'Releases',
  view: ({ models, lines, more }, { query }) => (
    <>
      <h1>Releases</h1>
      <Filter models={models} query={query} />
      <section class="card">
        <DataTable
          caption="Releases"
          hideCaption
          rows={lines}
          empty={
            <EmptyList rows="releases" path="/releases" query={query}>
              No releases yet. Start one: <code>tenure retrain &lt;model&gt;</code>
            </EmptyList>
          }
          columns={[
            {
              head: 'Version',
              names: true,
              cell: ({ id, version }) => (
                <a class="name" href={`/releases/${id}`}>
                  {version}
                </a>
              ),
            },
            { head: 'Outcome', cell: (line) => <Outcome line={line} /> },
            { head: 'Strategy', cell: ({ strategy }) => plain(strategy) },
            { head: 'Requested by', cell: ({ requestedBy }) => requestedBy },
            { head: 'Started', cell: ({ startedAt }) => <Time at={startedAt} /> },
            { head: 'Ended', cell: ({ endedAt }) => <Time at={endedAt} /> },
            {
              head: 'Reason',
              cell: ({ reason, withdrawal }) => (
                <span class="small">{shortReason(withdrawal?.reason ?? reason ?? '')}</span>
              ),
            },
          ]}
        />
        <Pager page={query.page} more={more} href={(page) => listHref('/releases', { ...query, page })} />
      </section>
    </>
  ),
})

type ShownLine = ReleaseListItem & { now: StageNow | undefined; withdrawal: Withdrawal | undefined }

const Outcome = ({ line }: { line: ShownLine }): PageElement => (
  <>
    {line.now !== undefined && <StageBadge {...line.now} />}
    {line.outcome !== undefined && <Badge tone={outcomeTones[line.outcome]}>{plain(line.outcome)}</Badge>}
    {line.withdrawal && [
      ' ',
      <Badge tone="bad">rolled back since</Badge>,
      ' ',
      <Time at={line.withdrawal.at} />,
    ]}
    {line.drill && [' ', <Badge tone="quiet">drill</Badge>]}
    {line.hotfix && [' ', <Badge tone="quiet">hotfix</Badge>]}
  </>
)

const Filter = ({ models, query }: { models: string[]; query: z.infer<typeof filter> }): PageElement => (
  <form class="filter" method="get" action="/releases" role="search" aria-label="Releases">
    <ModelSelect models={models} chosen={query.model} />
    <div>
      <label for="outcome">Outcome</label>
      <select id="outcome" name="outcome">
        <option value="">All</option>
        {outcomes.map((each) => (
          <option value={each} selected={each === query.outcome}>
            {plain(each)}
          </option>
        ))}
      </select>
    </div>
    <button class="second">Filter</button>
  </form>
)
