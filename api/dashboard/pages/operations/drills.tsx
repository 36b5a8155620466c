/** Lists drills with their detection time, recovery time and affected requests. */
import { listModelNames } from '../../../../store/registry/models.ts'
import { z } from 'zod'
import { wallText } from '../../../../domain/zoned-time.ts'
import { spansSvg } from '../../../charts/spans.ts'
import { drillKinds } from '../../../../domain/drill.ts'
import { findDrill, listDrills, type Drill } from '../../../../store/release/drills.ts'
import { countText, spanText } from '../../../charts/figures.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { withoutEvidence } from '../../../../domain/release/explain.ts'
import { modelName } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { drawChartSizes, ChartFigure } from '../../components/chart.tsx'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { Badge, DataTable, Facts, Time, type Fact } from '../../components/elements.tsx'
import { ModelLink, ReleaseLink } from '../../components/links.tsx'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { plain } from '../../labels.ts'

const rowsAPage = 25
const barsDrawn = 12

export const drillsPage = definePage({
  query: z.strictObject({ model: modelName.optional(), before: z.string().max(100).optional() }),
  async load({ store }, { query: { model, before }, zone }) {
    if (before !== undefined && (await findDrill(store, before)) === undefined)
      throw new DomainError('not_found', `there is no drill ${JSON.stringify(before)}`)
    const models = await listModelNames(store)
    const found = await listDrills(store, { model, before, limit: rowsAPage + 1 })
    const shown = found.slice(0, rowsAPage)
    const several = new Set(shown.map((drill) => drill.model)).size > 1
    const bars = shown
      .filter(({ endedAt, held }) => endedAt !== undefined && held)
      .slice(0, barsDrawn)
      .map(({ kind, model: of, startedAt, detectionMs, recoveryMs, passed }) => ({
        label: `${plain(kind)}${several ? ` ${of}` : ''}, ${wallText(Date.parse(startedAt), zone).slice(5, 16).replace('T', ' ')}`,
        short: `${plain(kind)}${several ? ` ${of}` : ''}`,
        detectionMs: detectionMs ?? null,
        recoveryMs: recoveryMs ?? null,
        failed: passed !== true,
      }))
    const chart =
      bars.length === 0
        ? undefined
        : await drawChartSizes(
            { id: 'drills', title: 'Detection and recovery time of drills', wide: 720, zone },
            bars,
            spansSvg,
          )
    return { models, drills: shown, more: found.length > rowsAPage, chart }
  },
  title: () => 'Drills',
  view: ({ models, drills: found, more, chart }, { query: { model, before } }) => (
    <>
      <h1>Drills</h1>
      <p>
        A drill rehearses a rollback with a deliberately faulty version, which is never promoted. Start one:{' '}
        <code>tenure drills run &lt;model&gt;</code>
      </p>
      <ModelFilterForm path="/drills" label="Drills" models={models} chosen={model} />
      {chart !== undefined && (
        <section class="card">
          <h2>Detection and recovery</h2>
          <ChartFigure
            chart={chart}
            note="Counted from the first requests to the candidate, or from the stop of a replica or worker. Narrow: detected. Wide: recovered on every replica."
          />
        </section>
      )}
      <section class="card">
        <DataTable
          caption="Drills"
          hideCaption
          rows={found}
          empty={
            <EmptyList rows="drills" path="/drills" query={{ model, before }}>
              No drills yet
            </EmptyList>
          }
          columns={[
            { head: 'Started', cell: ({ startedAt }) => <Time at={startedAt} /> },
            {
              head: 'Kind',
              names: true,
              cell: ({ kind }) => <span title={drillKinds[kind]}>{plain(kind)}</span>,
            },
            {
              head: 'Model',
              cell: ({ model }) => <ModelLink model={model} />,
            },
            { head: 'Traffic', cell: ({ traffic }) => traffic },
            { head: 'Outcome', cell: (drill) => <Outcome drill={drill} /> },
            { head: 'Detected in', numeric: true, cell: ({ detectionMs }) => spanText(detectionMs) },
            { head: 'Recovered in', numeric: true, cell: ({ recoveryMs }) => spanText(recoveryMs) },
            { head: 'Exposed', numeric: true, cell: ({ exposed }) => countText(exposed) },
            {
              head: 'Affected',
              numeric: true,
              cell: ({ harmed, harmBudget }) =>
                harmed === undefined ? '–' : `${countText(harmed)} of ${countText(harmBudget)}`,
            },
            {
              head: 'Result',
              cell: ({ message }) => <span class="small">{withoutEvidence(message ?? '')}</span>,
            },
            { head: 'Release', cell: ({ releaseId }) => <ReleaseLink id={releaseId} /> },
          ]}
        />
        <CursorPager
          first={before === undefined ? undefined : listHref('/drills', { model })}
          next={more ? listHref('/drills', { model, before: found.at(-1)!.id }) : undefined}
        />
        <Meanings />
      </section>
    </>
  ),
})

const traffics = {
  mirrored: 'The candidate answers copies of requests, and no caller receives its responses.',
  live: 'The candidate answers a share of the requests.',
} as const

/** Explains the words of the table. */
const Meanings = (): PageElement => (
  <details>
    <summary>Kinds, traffic and columns</summary>
    <Facts
      facts={[
        ...Object.entries(drillKinds).map(([kind, about]): Fact => [plain(kind), about]),
        ...Object.entries(traffics).map(([name, about]): Fact => [`Traffic: ${name}`, about]),
        ['Exposed', 'Requests that the candidate answered'],
        ['Affected', 'Failed requests of callers, and how many the drill may cause'],
      ]}
    />
  </details>
)

const Outcome = ({ drill: { held, passed, endedAt } }: { drill: Drill }): PageElement =>
  endedAt === undefined ? (
    <Badge tone="quiet">running</Badge>
  ) : !held ? (
    <Badge tone="quiet">skipped</Badge>
  ) : (
    <Badge tone={passed === true ? 'good' : 'bad'}>{passed === true ? 'passed' : 'failed'}</Badge>
  )
