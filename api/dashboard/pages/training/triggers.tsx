/**
 * Lists the schedules and triggers of retrainings and batches: the condition of each, its last firing, its next check, and why it does not
 * fire.
 */
import { listModelNames } from '../../../../store/registry/models.ts'
import { z } from 'zod'
import { cursorText } from '../../../http/page-cursor.ts'
import { modelName } from '../../../http/schemas.ts'
import { listTriggerStates, type ListedTrigger } from '../../../services/triggers/list-triggers.ts'
import { definePage, type PageElement } from '../../page.ts'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { CursorPager, EmptyList, listHref } from '../../components/pager.tsx'
import { DataTable, Live, Time } from '../../components/elements.tsx'
import { Crumbs, ModelLink, retrainingHref } from '../../components/links.tsx'
import { RetrainingOutcome } from './retrainings.tsx'

const rowsAPage = 100

export const triggersPage = definePage({
  query: z.strictObject({ model: modelName.optional(), cursor: cursorText.optional() }),
  async load(deps, { query }) {
    const models = await listModelNames(deps.store)
    return { models, ...(await listTriggerStates(deps, { ...query, limit: rowsAPage })) }
  },
  title: () => 'Triggers',
  view: ({ models, triggers, next }, { query: { cursor, ...query }, target }) => (
    <>
      <Crumbs to={[['/retrainings', 'Retrainings']]} />
      <h1>Triggers</h1>
      <p>The schedules and triggers of the model files. Drift and lost quality start retrainings too.</p>
      <ModelFilterForm path="/triggers" label="Triggers" models={models} chosen={query.model} />
      <Live id="triggers" target={target} everyMs={5_000}>
        <section class="card">
          <DataTable
            caption="Triggers"
            hideCaption
            rows={triggers}
            empty={
              <EmptyList rows="triggers" path="/triggers" query={query}>
                No model file has a schedule or a trigger. Add one:{' '}
                <code>retrain: [cron(…), whenFile(…)]</code>
              </EmptyList>
            }
            columns={[
              {
                head: 'Model',
                cell: ({ model }) => <ModelLink model={model} />,
              },
              { head: 'Trigger', names: true, cell: ({ trigger }) => trigger },
              { head: 'Waits for', cell: ({ waitsFor }) => <span class="small wrap">{waitsFor}</span> },
              { head: 'Last fired', cell: ({ firedAt }) => <Time at={firedAt} /> },
              { head: 'Started', cell: (trigger) => <Started {...trigger} /> },
              { head: 'Next', cell: ({ nextAt }) => <Time at={nextAt} shows="due" /> },
              { head: 'Problem', cell: ({ problem }) => <span class="small wrap">{problem ?? ''}</span> },
              { head: 'Reason', cell: ({ message }) => <span class="small wrap">{message ?? ''}</span> },
            ]}
          />
          <CursorPager
            first={cursor === undefined ? undefined : listHref('/triggers', query)}
            next={next === undefined ? undefined : listHref('/triggers', { ...query, cursor: next })}
          />
        </section>
      </Live>
    </>
  ),
})

/** Shows what the last firing started, and how it ended. */
function Started({ retraining, scoring, outcome }: ListedTrigger): PageElement {
  if (retraining !== undefined)
    return (
      <a class="nowrap" href={retrainingHref(retraining)}>
        retraining <RetrainingOutcome outcome={outcome} />
      </a>
    )
  if (scoring === undefined) return <>—</>
  return (
    <span class="nowrap">
      batch <RetrainingOutcome outcome={outcome ?? 'waiting'} />
    </span>
  )
}
