/** Lists the models with their purpose, champion, latest version and last retraining. */
import { z } from 'zod'
import { listModelLines } from '../../../../store/dashboard/lists.ts'
import { modelName } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { listHref, CursorPager } from '../../components/pager.tsx'
import { Age, DataTable, Since } from '../../components/elements.tsx'
import { ModelLink } from '../../components/links.tsx'
import { RetrainingOutcome } from '../training/retrainings.tsx'

const rowsAPage = 50

export const modelsPage = definePage({
  query: z.strictObject({ after: modelName.optional() }),
  async load({ store, serving }, { query: { after } }) {
    const lines = await listModelLines(store, { after, limit: rowsAPage + 1 })
    return { lines: lines.slice(0, rowsAPage), more: lines.length > rowsAPage, nowMs: serving.wall() }
  },
  title: () => 'Models',
  view: ({ lines, more, nowMs }, { query: { after } }) => (
    <>
      <h1>Models</h1>
      <p>
        <a href="/versions">Search all versions</a> by name, metric, date, status or data.
      </p>
      <section class="card">
        <DataTable
          caption="Models"
          hideCaption
          rows={lines}
          empty={
            after === undefined ? (
              <>
                No models yet. Add a file to <code>models/</code>, then run <code>tenure models sync</code>.
              </>
            ) : (
              <>
                No more models. <a href="/models">First page</a>
              </>
            )
          }
          columns={[
            { head: 'Model', names: true, cell: ({ model }) => <ModelLink model={model} /> },
            {
              head: 'Description',
              cell: ({ about }) =>
                about === undefined ? <span class="quiet">—</span> : <span class="wrap">{about}</span>,
            },
            { head: 'Champion', cell: ({ champion }) => <ShortVersion version={champion?.version} /> },
            {
              head: 'Live since',
              cell: ({ champion }) => <Since at={champion?.since} nowMs={nowMs} />,
            },
            { head: 'Latest version', cell: ({ latest }) => <ShortVersion version={latest?.version} /> },
            {
              head: 'Registered',
              numeric: true,
              cell: ({ latest }) => <Ago at={latest?.createdAt} nowMs={nowMs} />,
            },
            {
              head: 'Last retraining',
              cell: ({ retrained }) => (retrained === undefined ? '—' : <RetrainingOutcome {...retrained} />),
            },
            {
              head: 'Started',
              numeric: true,
              cell: ({ retrained }) => <Ago at={retrained?.startedAt} nowMs={nowMs} />,
            },
          ]}
        />
        <CursorPager
          first={after === undefined ? undefined : '/models'}
          next={more ? listHref('/models', { after: lines.at(-1)!.model }) : undefined}
        />
      </section>
    </>
  ),
})

const Ago = ({ at, nowMs }: { at: string | undefined; nowMs: number }) => (
  <span class="nowrap">
    <Age at={at} nowMs={nowMs} />
    {at !== undefined && ' ago'}
  </span>
)

/** Shows `flight-delay_v1.2.0` as `v1.2.0`, beside the name of the model. */
const ShortVersion = ({ version }: { version: string | undefined }): PageElement =>
  version === undefined ? (
    <span class="quiet">—</span>
  ) : (
    <span title={version}>{version.replace(/^.*_v/, 'v')}</span>
  )
