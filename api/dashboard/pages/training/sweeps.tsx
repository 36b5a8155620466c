/** Lists sweeps, and shows one with its trials: hyperparameters, score with interval, loss, and which trials went to the gate. */
import { requireFound } from '../../../../domain/errors.ts'
import { z } from 'zod'
import { runCurvesSvg } from '../../../charts/history/run-curves.ts'
import { primaryIsHigher } from '../../../../domain/evaluation/policy.ts'
import { counted, metricName, metricText, numberText } from '../../../../domain/figures.ts'
import {
  findSweepRetraining,
  findSweepRows,
  listSweepLines,
  listSweepTrials,
  type SweepTrial,
} from '../../../../store/dashboard/training-detail.ts'
import { listModelNames, getModel } from '../../../../store/registry/models.ts'
import { findSweep } from '../../../../store/training/sweeps.ts'
import { modelName, pageNumber } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { ChartFigure, drawChartSizes } from '../../components/chart.tsx'
import { Badge, DataTable, Facts, Live, Pager, Time, type BadgeTone } from '../../components/elements.tsx'
import { Crumbs, ModelLink, retrainingHref } from '../../components/links.tsx'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { EmptyList, listHref } from '../../components/pager.tsx'
import { qualityInterval } from '../../components/quality-interval.ts'
import { outcomeText } from '../../../../domain/evaluation/verdict-words.ts'
import { withoutIds } from '../../labels.ts'

const rowsAPage = 25

export const sweepsPage = definePage({
  query: z.strictObject({ model: modelName.optional(), page: pageNumber }),
  async load({ store }, { query }) {
    const models = await listModelNames(store)
    const sweeps = await listSweepLines(store, {
      model: query.model,
      limit: rowsAPage + 1,
      offset: (query.page - 1) * rowsAPage,
    })
    return { models, sweeps: sweeps.slice(0, rowsAPage), more: sweeps.length > rowsAPage }
  },
  title: () => 'Sweeps',
  view: ({ models, sweeps, more }, { query }) => (
    <>
      <Crumbs to={[['/retrainings', 'Retrainings']]} />
      <h1>Sweeps</h1>
      <ModelFilterForm path="/sweeps" label="Sweeps" models={models} chosen={query.model} />
      <section class="card">
        <DataTable
          caption="Sweeps, newest first"
          hideCaption
          rows={sweeps}
          empty={
            <EmptyList rows="sweeps" path="/sweeps" query={query}>
              No sweeps yet. Start one: <code>tenure sweep &lt;model&gt; --grid units=16,32</code>
            </EmptyList>
          }
          columns={[
            {
              head: 'Sweep',
              names: true,
              cell: ({ id }) => <a href={`/sweeps/${encodeURIComponent(id)}`}>{id}</a>,
            },
            { head: 'Model', cell: ({ model }) => <ModelLink model={model} /> },
            { head: 'Outcome', cell: ({ outcome }) => <OutcomeBadge outcome={outcome} /> },
            { head: 'Trials', numeric: true, cell: ({ scored, trials }) => `${scored} of ${trials}` },
            { head: 'Winner', cell: ({ winner }) => valuesText(winner) },
            { head: 'Started', cell: ({ startedAt }) => <Time at={startedAt} /> },
            { head: 'Requested by', cell: ({ requestedBy }) => requestedBy },
          ]}
        />
        <Pager
          page={query.page}
          more={more}
          href={(page) => listHref('/sweeps', { model: query.model, page })}
        />
      </section>
    </>
  ),
})

export const sweepPage = definePage({
  async load({ store }, { params }) {
    const id = params['id']!
    const sweep = requireFound(await findSweep(store, id), { what: 'sweep', id })
    const [trials, retraining, rows, { definition }] = await Promise.all([
      listSweepTrials(store, id),
      findSweepRetraining(store, id),
      findSweepRows(store, { sweep: id, model: sweep.model }),
      getModel(store, sweep.model),
    ])
    const { split, evaluation } = definition
    const policy = evaluation?.policy
    const metric = policy?.primary ?? 'score'
    const isHigher = policy === undefined || primaryIsHigher(policy)
    // A split by time does not store its number of validation rows.
    const validation = split?.kind === 'hash' ? split.validation : undefined
    const validationRows = validation === undefined ? 0 : Math.round((rows?.rows ?? 0) * validation)
    const isWinner = ({ overrides }: SweepTrial) =>
      sweep.winner !== undefined && valuesText(overrides) === valuesText(sweep.winner)
    const ranked = trials
      .map((trial) => ({
        ...trial,
        won: isWinner(trial),
        interval: qualityInterval(
          { metric, value: trial.score ?? null, rows: validationRows },
          rows?.positives,
        ),
      }))
      .toSorted((one, other) => order(isHigher, one.score, other.score))
    const chart = await drawChartSizes(
      { id: 'curves', title: `Loss of the trials of ${id}` },
      ranked.map(({ overrides, curve, won }) => ({
        name: valuesText(overrides),
        points: curve,
        marked: won,
      })),
      runCurvesSvg,
    )
    return { sweep, ranked, retraining, metric, chart }
  },
  title: ({ sweep }) => `Sweep ${sweep.id}`,
  view({ sweep, ranked, retraining, metric, chart }, { target }) {
    return (
      <>
        <Crumbs to={[[`/sweeps?model=${encodeURIComponent(sweep.model)}`, `Sweeps of ${sweep.model}`]]} />
        <h1>Sweep of {sweep.model}</h1>
        <Live id="sweep" target={target} over={sweep.endedAt !== undefined}>
          <section class="card" aria-label="Result">
            <p class="lead">
              <OutcomeBadge outcome={sweep.outcome} />{' '}
              {sweep.message === undefined ? counted(ranked.length, 'trial') : withoutIds(sweep.message)}
            </p>
            <Facts
              facts={[
                ['Winner', valuesText(sweep.winner)],
                ['Gate', <GateLine retraining={retraining} />],
                ['Requested by', sweep.requestedBy],
                ['Data as of', <Time at={sweep.asOf} />],
                ['Started', <Time at={sweep.startedAt} />],
                ['Ended', <Time at={sweep.endedAt} />],
              ]}
            />
          </section>
          <section class="card" aria-labelledby="trials-heading">
            <h2 id="trials-heading">Trials (best first)</h2>
            <DataTable
              caption="Trials, best first"
              hideCaption
              rows={ranked}
              empty="No trials yet"
              columns={[
                {
                  head: 'Values',
                  names: true,
                  cell: ({ overrides, won }) => (
                    <>
                      {valuesText(overrides)} {won && <Badge tone="good">to the gate</Badge>}
                    </>
                  ),
                },
                { head: metricName(metric), numeric: true, cell: ({ score }) => metricText(score) },
                {
                  head: '95 % interval',
                  numeric: true,
                  cell: ({ interval }) =>
                    interval === undefined
                      ? '—'
                      : interval.map((end) => numberText(Number(end.toPrecision(3)))).join(' – '),
                },
                { head: 'Epochs', numeric: true, cell: ({ epoch }) => epoch },
                { head: 'Outcome', cell: ({ outcome }) => <OutcomeBadge outcome={outcome} /> },
                { head: 'Message', cell: ({ message }) => <span class="small">{message ?? ''}</span> },
              ]}
            />
            <p class="hint">
              Scores are {metricName(metric)} on the validation rows, which chose the winner: the gate
              evaluates it again on the test rows.
            </p>
            <ChartFigure chart={chart} note="Loss by epoch; the winner in colour." />
          </section>
        </Live>
      </>
    )
  },
})

const outcomeTone: Readonly<Record<string, BadgeTone>> = {
  chosen: 'good',
  scored: 'quiet',
  judged: 'quiet',
  failed: 'bad',
  quarantined: 'quiet',
}

const OutcomeBadge = ({ outcome }: { outcome: string | undefined }): PageElement => (
  <Badge tone={outcomeTone[outcome ?? ''] ?? 'quiet'}>{outcomeText(outcome ?? 'running')}</Badge>
)

const GateLine = ({
  retraining,
}: {
  retraining: { id: string; outcome?: string; version?: string; releaseId?: string } | undefined
}): PageElement => {
  if (retraining === undefined) return <>Not evaluated yet</>
  const { id, outcome, version, releaseId } = retraining
  return (
    <>
      <a href={retrainingHref(id)}>{outcomeText(outcome ?? 'running')}</a>
      {version !== undefined &&
        (releaseId === undefined
          ? ` · ${version}`
          : [' · ', <a href={`/releases/${releaseId}`}>{version}</a>])}
    </>
  )
}

/** Lists hyperparameters by name: `epochs 12, rate 0.01`; a dash without any. */
function valuesText(values: Readonly<Record<string, unknown>> | undefined): string {
  const pairs = Object.entries(values ?? {}).toSorted(([one], [other]) => one.localeCompare(other))
  return pairs.length === 0 ? '—' : pairs.map(([name, value]) => `${name} ${String(value)}`).join(', ')
}

/** Orders trials by score, the best first and those without a score last. */
function order(isHigher: boolean, one: number | undefined, other: number | undefined): number {
  if (one === undefined || other === undefined) return Number(one === undefined) - Number(other === undefined)
  return isHigher ? other - one : one - other
}
