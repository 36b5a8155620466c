/** Lists retrainings page by page with their requester and outcome. */
import { listModelNames } from '../../../../store/registry/models.ts'
import { z } from 'zod'
import { listRetrainingLines } from '../../../../store/dashboard/training-detail.ts'
import type { Retraining } from '../../../../store/training/retrainings.ts'
import { modelName, pageNumber } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { retrainingHref, versionHref } from '../../components/links.tsx'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { EmptyList, listHref } from '../../components/pager.tsx'
import { Badge, Live, Pager, DataTable, Time, type BadgeTone } from '../../components/elements.tsx'
import { outcomeText } from '../../../../domain/evaluation/verdict-words.ts'
import { shortReason } from '../../labels.ts'
import { shortVersion } from '../overview/cells.tsx'

const rowsAPage = 25

export const retrainingsPage = definePage({
  query: z.strictObject({ model: modelName.optional(), page: pageNumber }),
  async load({ store }, { query }) {
    const models = await listModelNames(store)
    const lines = await listRetrainingLines(store, {
      model: query.model,
      limit: rowsAPage + 1,
      offset: (query.page - 1) * rowsAPage,
    })
    return { models, lines: lines.slice(0, rowsAPage), more: lines.length > rowsAPage }
  },
  title: () => 'Retrainings',
  view: ({ models, lines, more }, { query, target }) => (
    <>
      <h1>Retrainings</h1>
      <p class="small">
        <a href={listHref('/sweeps', { model: query.model })}>Sweeps</a> ·{' '}
        <a href={listHref('/triggers', { model: query.model })}>Triggers</a>
      </p>
      <ModelFilterForm path="/retrainings" label="Retrainings" models={models} chosen={query.model} />
      <Live id="retrainings" target={target} everyMs={5_000}>
        <section class="card">
          <DataTable
            caption="Retrainings"
            hideCaption
            rows={lines}
            empty={
              <EmptyList rows="retrainings" path="/retrainings" query={query}>
                No retrainings yet. Start one: <code>tenure retrain &lt;model&gt; --watch</code>
              </EmptyList>
            }
            columns={[
              {
                head: 'Retraining of',
                names: true,
                cell: ({ id, startedAt, ...line }) => (
                  <>
                    <a class="name" href={retrainingHref(id)}>
                      {line.model}
                      <span class="aloud"> retraining of {startedAt}</span>
                    </a>
                    {line.makes !== 'training' && <span class="quiet small"> {madeText(line)}</span>}
                  </>
                ),
              },
              { head: 'Outcome', cell: (line) => <RetrainingOutcome {...line} /> },
              { head: 'Requested by', cell: ({ reason, requestedBy }) => `${requestedBy} (${reason})` },
              { head: 'Data as of', cell: ({ asOf }) => <Time at={asOf} /> },
              { head: 'Started', cell: ({ startedAt }) => <Time at={startedAt} /> },
              { head: 'Ended', cell: ({ endedAt }) => <Time at={endedAt} /> },
              {
                head: 'Version',
                cell: ({ model, version }) =>
                  version === undefined ? (
                    '—'
                  ) : (
                    <a class="nowrap" href={versionHref({ model, version })}>
                      {shortVersion(model, version)}
                    </a>
                  ),
              },
              {
                head: 'Reason',
                cell: ({ message }) => <span class="small wrap">{shortReason(message ?? '')}</span>,
              },
            ]}
          />
          <Pager
            page={query.page}
            more={more}
            href={(page) => listHref('/retrainings', { model: query.model, page })}
          />
        </section>
      </Live>
    </>
  ),
})

/** The words of a retraining, by what it makes. */
export const makingWords = {
  training: { noun: 'retraining', done: 'trained' },
  compression: { noun: 'compression', done: 'compressed' },
  registration: { noun: 'registration', done: 'registered' },
} as const

/** `compression of v1.0.0 to int8`, or `registration`, or `retraining`. */
export function madeText({
  model,
  makes,
  compression,
}: Pick<Retraining, 'model' | 'makes' | 'compression'>): string {
  if (compression === undefined) return makingWords[makes].noun
  return `${makingWords[makes].noun} of ${shortVersion(model, compression.version)} to ${compression.to}`
}

const tones: Readonly<Record<string, BadgeTone>> = {
  released: 'quiet',
  registered: 'good',
  done: 'good',
  quarantined: 'bad',
  failed: 'bad',
  not_better: 'bad',
  insufficient: 'quiet',
}

/** Running retrainings have the tone of what goes on. */
export const toneOf = ({ outcome }: { outcome?: string }): BadgeTone =>
  outcome === undefined ? 'quiet' : (tones[outcome] ?? 'quiet')

export const RetrainingOutcome = ({ outcome }: { outcome?: string }): PageElement =>
  outcome === undefined ? (
    <Badge tone="quiet">running</Badge>
  ) : (
    <Badge tone={toneOf({ outcome })}>{outcomeText(outcome)}</Badge>
  )
