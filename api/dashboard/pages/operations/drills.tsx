/** Rehearsed releases: what each was to show, how soon it was noticed and over, and how many callers it harmed. */
import { z } from 'zod'
import { spansSvg } from '../../../../charts/spans.ts'
import { drillKinds } from '../../../../domain/drill.ts'
import { findDrill, listDrills, type Drill } from '../../../../store/release/drills.ts'
import { duration } from '../../../../charts/figures.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { modelName } from '../../../http/schemas.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { page, type View } from '../../page.ts'
import { drawn, Drawing, type Drawn } from '../../components/chart.tsx'
import { addressOf, Onward } from '../../components/pager.tsx'
import { Badge, countText, Table, Time } from '../../components/elements.tsx'
import { plain } from '../../labels.ts'

const rowsAPage = 25
const barsDrawn = 12

const query = z.strictObject({ model: modelName.optional(), before: z.string().max(100).optional() })

interface Drills {
  drills: Drill[]
  more: boolean
  chart?: Drawn
}

export const drills = page<Drills, z.infer<typeof query>>({
  query,
  async load({ store }, { actor, query: { model, before } }) {
    if (before !== undefined && (await findDrill(store, before)) === undefined)
      throw new DomainError('not_found', `there is no drill ${JSON.stringify(before)}`)
    const found = await listDrills(store, {
      ...modelFilter(actor),
      ...(model === undefined ? {} : { model }),
      ...(before === undefined ? {} : { before }),
      limit: rowsAPage + 1,
    })
    const shown = found.slice(0, rowsAPage)
    const several = new Set(shown.map((drill) => drill.model)).size > 1
    const bars = shown
      .filter(({ endedAt, held }) => endedAt !== undefined && held)
      .slice(0, barsDrawn)
      .map(({ kind, model: of, startedAt, detectionMs, recoveryMs, passed }) => ({
        label: `${plain(kind)}${several ? ` ${of}` : ''}, ${startedAt.slice(5, 16).replace('T', ' ')}`,
        detectionMs: detectionMs ?? null,
        recoveryMs: recoveryMs ?? null,
        failed: passed !== true,
      }))
    const chart =
      bars.length === 0
        ? undefined
        : await drawn(
            { id: 'drills', title: 'How soon drills were noticed and over', wide: 720 },
            bars,
            spansSvg,
          )
    return { drills: shown, more: found.length > rowsAPage, chart }
  },
  title: () => 'Drills',
  view: ({ drills: found, more, chart }, { query: { model, before } }) => (
    <>
      <h1>Drills</h1>
      <p>
        A candidate that is known to be bad goes the real way, and what is measured is how soon it is noticed
        and gone. No drill's version is ever champion.
      </p>
      {chart !== undefined && (
        <section class="card">
          <h2>Noticed and over</h2>
          <Drawing
            chart={chart}
            note="Narrow: until it was noticed. Wide: until every replica had returned."
          />
        </section>
      )}
      <section class="card">
        <Table
          caption="Drills"
          hideCaption
          rows={found}
          empty={
            <>
              No drill has been held{model === undefined ? '' : ` of ${model}`} yet.{' '}
              <code>tenure drills run {model ?? 'iris'}</code> holds one.
            </>
          }
          columns={[
            { head: 'Started (UTC)', cell: ({ startedAt }) => <Time at={startedAt} /> },
            {
              head: 'Kind',
              names: true,
              cell: ({ kind }) => <span title={drillKinds[kind]}>{plain(kind)}</span>,
            },
            {
              head: 'Model',
              cell: (drill) => (
                <a class="nowrap" href={`/models/${encodeURIComponent(drill.model)}`}>
                  {drill.model}
                </a>
              ),
            },
            { head: 'Traffic', cell: ({ traffic }) => traffic },
            { head: 'Outcome', cell: (drill) => <Outcome drill={drill} /> },
            { head: 'Noticed after', numeric: true, cell: ({ detectionMs }) => duration(detectionMs) },
            { head: 'Over after', numeric: true, cell: ({ recoveryMs }) => duration(recoveryMs) },
            {
              head: 'Met it',
              numeric: true,
              cell: ({ exposed }) => (exposed === undefined ? '–' : countText(exposed)),
            },
            {
              head: 'Harmed',
              numeric: true,
              cell: ({ harmed, harmBudget }) =>
                harmed === undefined ? '–' : `${countText(harmed)} of ${countText(harmBudget)}`,
            },
            { head: 'What came of it', cell: ({ message }) => <span class="small">{message ?? ''}</span> },
            {
              head: 'Release',
              cell: ({ releaseId }) =>
                releaseId === undefined ? (
                  '–'
                ) : (
                  <a href={`/releases/${encodeURIComponent(releaseId)}`}>its page</a>
                ),
            },
          ]}
        />
        <Onward
          first={before === undefined ? undefined : addressOf('/drills', { model })}
          next={more ? addressOf('/drills', { model, before: found.at(-1)!.id }) : undefined}
        />
      </section>
    </>
  ),
})

const Outcome = ({ drill: { held, passed, endedAt } }: { drill: Drill }): View =>
  endedAt === undefined ? (
    <Badge tone="info">going on</Badge>
  ) : !held ? (
    <Badge tone="warn">not held</Badge>
  ) : (
    <Badge tone={passed === true ? 'good' : 'bad'}>{passed === true ? 'passed' : 'failed'}</Badge>
  )
